"""The MedicalNet 3D ResNets in their true topology: dilated, output stride 8, gradient through every shortcut."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.medicalnet_blocks import BasicBlock, Bottleneck, PadShortcut, projection


class Depth(NamedTuple):
    """What distinguishes one published depth.

    Attributes:
        bottleneck: bottleneck blocks instead of basic ones.
        blocks: residual blocks in layer1 to layer4.
        shortcut: "A" (strided copy, zero channels, no tensors) or "B" (1x1x1 convolution and batch norm).
    """

    bottleneck: bool
    blocks: tuple[int, int, int, int]
    shortcut: str


DEPTHS = {
    10: Depth(False, (1, 1, 1, 1), "B"),
    18: Depth(False, (2, 2, 2, 2), "A"),
    34: Depth(False, (3, 4, 6, 3), "A"),
    50: Depth(True, (3, 4, 6, 3), "B"),
    101: Depth(True, (3, 4, 23, 3), "B"),
    152: Depth(True, (3, 8, 36, 3), "B"),
    200: Depth(True, (3, 24, 36, 3), "B"),
}
PLANES = (64, 128, 256, 512)

# Output stride -> (stride, dilation) of layer1 to layer4.
TOPOLOGIES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}


class MedicalNetEncoder(Encoder):
    """3D ResNet of Med3D / MedicalNet (Chen et al., arXiv:1904.00625), its segmentation head left out.

    Output stride 8 is the published network: layer3 and layer4 keep the resolution of layer2 and dilate their
    3x3x3 convolutions by 2 and 4. Output stride 32 is the undilated variant that MONAI builds: the published files
    have the same tensors and fill both, but only the first computes what was trained.

    Levels: after the stem's ReLU (stride 2), layer1 (4), layer2 (8), layer3 and layer4 (8 and 8, or 16 and 32).
    Initial values as in the published code: convolutions Kaiming normal over the fan-out, batch norm weight 1, bias 0.
    The axes of its images run S, A, R: slices first. Any image size works; training needs more than one voxel in the
    last level (batch norm).

    Args:
        depth: 10, 18, 34, 50, 101, 152 or 200.
        in_channels: image channels; the published stem has 1, its weights are repeated and divided for more.
        output_stride: 8 (as published) or 32.

    Raises:
        ConfigError: an unknown depth or output stride, or no input channel.
    """

    def __init__(self, depth: int, in_channels: int = 1, output_stride: int = 8) -> None:
        super().__init__()
        _require(depth, in_channels, output_stride)
        kind, topology = DEPTHS[depth], TOPOLOGIES[output_stride]
        expansion = Bottleneck.expansion if kind.bottleneck else BasicBlock.expansion
        self.architecture = f"medicalnet_resnet{depth}" + ("" if output_stride == 8 else f"_stride{output_stride}")
        self.spatial_dims, self.in_channels = 3, in_channels
        self.orientation, self.intensity = "SAR", "robust_zscore"
        self.channels = (PLANES[0], *(planes * expansion for planes in PLANES))
        self.strides = _level_strides(topology)
        self.adaptation = _adaptation(in_channels)

        self.conv1 = nn.Conv3d(in_channels, PLANES[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(PLANES[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _layer(kind, 0, topology[0])
        self.layer2 = _layer(kind, 1, topology[1])
        self.layer3 = _layer(kind, 2, topology[2])
        self.layer4 = _layer(kind, 3, topology[3])
        self.stages = {"stem": ("conv1", "bn1"), **{f"layer{n}": (f"layer{n}",) for n in (1, 2, 3, 4)}}
        _initialise(self)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The five feature maps ``(B, channels[i], ...)`` of an image ``(B, in_channels, S, A, R)``."""
        stem = self.relu(self.bn1(self.conv1(image)))
        level1 = self.layer1(self.maxpool(stem))
        level2 = self.layer2(level1)
        level3 = self.layer3(level2)
        return [stem, level1, level2, level3, self.layer4(level3)]


def _require(depth: int, in_channels: int, output_stride: int) -> None:
    for name, value, known in (("depth", depth, DEPTHS), ("output stride", output_stride, TOPOLOGIES)):
        if value not in known:
            raise ConfigError(
                f"MedicalNet has no such {name}", expected="one of " + ", ".join(map(str, known)), got=value
            )
    if in_channels < 1:
        raise ConfigError("a network needs input channels", expected="in_channels >= 1", got=in_channels)


def _adaptation(in_channels: int) -> dict[str, tuple[str, ...]]:
    """What the published tensors need: the stem's one input channel is shared among several."""
    return {} if in_channels == 1 else {"conv1.weight": ("sum",)}


def _level_strides(topology: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], ...]:
    strides, step = [2], 4  # the stem, and the max pool behind it
    for stride, _ in topology:
        step *= stride
        strides.append(step)
    return tuple((step, step, step) for step in strides)


def _layer(kind: Depth, index: int, topology: tuple[int, int]) -> nn.Sequential:
    """The residual blocks of one layer; only the first changes size and channels, all of them dilate."""
    block = Bottleneck if kind.bottleneck else BasicBlock
    stride, dilation = topology
    planes = PLANES[index]
    channels = planes * block.expansion
    arriving = PLANES[0] if index == 0 else PLANES[index - 1] * block.expansion
    shortcut: nn.Module | None = None
    if stride != 1 or arriving != channels:
        make = PadShortcut if kind.shortcut == "A" else projection
        shortcut = make(arriving, channels, stride)
    blocks = [block(arriving, planes, stride, dilation, shortcut)]
    blocks += [block(channels, planes, 1, dilation, None) for _ in range(kind.blocks[index] - 1)]
    return nn.Sequential(*blocks)


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
