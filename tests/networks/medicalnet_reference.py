"""The published MedicalNet in functional PyTorch, and networks and states to compare it with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets import resnet as monai_resnet
from torch import nn

from medtl_monai.networks.medicalnet import MedicalNetEncoder

State = dict[str, torch.Tensor]

# depth -> blocks per layer, convolutions per block, channels out per plane, shortcut type, entries, parameters
PUBLISHED = {
    10: ([1, 1, 1, 1], 2, 1, "B", 72, 14_355_520),
    18: ([2, 2, 2, 2], 2, 1, "A", 102, 32_986_176),
    34: ([3, 4, 6, 3], 2, 1, "A", 198, 63_295_808),
    50: ([3, 4, 6, 3], 3, 4, "B", 318, 46_155_072),
    101: ([3, 4, 23, 3], 3, 4, "B", 624, 85_201_216),
    152: ([3, 8, 36, 3], 3, 4, "B", 930, 117_359_936),
    200: ([3, 24, 36, 3], 3, 4, "B", 1218, 126_559_552),
}
# (stride, dilation) of layer1..layer4
DILATED = [(1, 1), (2, 1), (1, 2), (1, 4)]
UNDILATED = [(1, 1), (2, 1), (2, 1), (2, 1)]


def monai_network(depth: int, in_channels: int = 1) -> nn.Module:
    """MONAI's network of this depth, with the arguments that its MedicalNet weights ask for."""
    shortcut = PUBLISHED[depth][3]
    return getattr(monai_resnet, f"resnet{depth}")(
        spatial_dims=3,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        feed_forward=False,
        shortcut_type=shortcut,
        bias_downsample=shortcut == "A",
    )


def monai_features(network: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Feature maps of MONAI's network, level by level."""
    levels = [network.act(network.bn1(network.conv1(image)))]
    out = network.maxpool(levels[0])
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        out = layer(out)
        levels.append(out.clone())
    return levels


def encoder(depth: int, output_stride: int = 8, in_channels: int = 1, seed: int = 0) -> MedicalNetEncoder:
    """An encoder in evaluation mode whose batch norms have statistics and weights of their own."""
    torch.manual_seed(seed)
    network = MedicalNetEncoder(depth, in_channels, output_stride)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def _norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """Batch norm in evaluation mode, epsilon 1e-5, by its formula."""
    shape = (1, -1, 1, 1, 1)
    scale = state[f"{name}.weight"] / torch.sqrt(state[f"{name}.running_var"] + 1e-5)
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale.view(shape) + shift.view(shape)


def _residual(state: State, block: str, x: torch.Tensor, convolutions: int, stride: int, dilation: int) -> torch.Tensor:
    strided = 1 if convolutions == 2 else 2  # the first of two 3x3x3, or the middle of 1x1x1, 3x3x3, 1x1x1
    for n in range(1, convolutions + 1):
        weight = state[f"{block}.conv{n}.weight"]
        wide = weight.shape[-1] == 3
        step = stride if n == strided else 1
        x = F.conv3d(x, weight, stride=step, padding=dilation if wide else 0, dilation=dilation if wide else 1)
        x = _norm(state, f"{block}.bn{n}", x)
        x = x.clamp(min=0) if n < convolutions else x
    return x


def _shortcut(state: State, block: str, x: torch.Tensor, stride: int, channels: int) -> torch.Tensor:
    if f"{block}.downsample.0.weight" in state:
        x = F.conv3d(x, state[f"{block}.downsample.0.weight"], stride=stride)
        return _norm(state, f"{block}.downsample.1", x)
    x = x[:, :, ::stride, ::stride, ::stride]
    zeros = torch.zeros(x.shape[0], channels - x.shape[1], *x.shape[2:])
    return torch.cat([x, zeros], dim=1)


def reference_features(
    state: State, depth: int, image: torch.Tensor, topology: list[tuple[int, int]]
) -> list[torch.Tensor]:
    """Feature maps after the stem's ReLU and after each layer, from the tensors alone."""
    blocks, convolutions, expansion = PUBLISHED[depth][:3]
    x = _norm(state, "bn1", F.conv3d(image, state["conv1.weight"], stride=2, padding=3)).clamp(min=0)
    levels = [x]
    x = F.max_pool3d(x, 3, 2, 1)
    for layer, (count, (stride, dilation)) in enumerate(zip(blocks, topology, strict=True), start=1):
        channels = 64 * 2 ** (layer - 1) * expansion
        for index in range(count):
            name, step = f"layer{layer}.{index}", stride if index == 0 else 1
            residual = _residual(state, name, x, convolutions, step, dilation)
            x = (residual + _shortcut(state, name, x, step, channels)).clamp(min=0)
        levels.append(x)
    return levels
