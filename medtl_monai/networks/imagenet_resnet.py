"""torchvision's ResNet and ResNeXt as encoders."""

from __future__ import annotations

import torch
from torchvision.models import ResNet

from medtl_monai.networks.imagenet_base import ImageNetEncoder


class ResNetEncoder(ImageNetEncoder):
    """ResNet (He et al. 2016, arXiv:1512.03385), ResNeXt (Xie et al. 2017, arXiv:1611.05431).

    Levels: after the stem's activation, and after ``layer1`` to ``layer4``; level ``i`` of an image of length ``n`` has
    length ``ceil(n / 2 ** (i + 1))``.

    Args:
        architecture: torchvision's name of it.
        network: torchvision's network, whose modules are taken over.
    """

    def __init__(self, architecture: str, network: ResNet) -> None:
        super().__init__(architecture, "conv1")
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        width = network.fc.in_features
        self.channels = (network.conv1.out_channels, width // 8, width // 4, width // 2, width)
        self.strides = tuple((2**level, 2**level) for level in range(1, 6))
        self.stages = {"stem": ("conv1", "bn1"), **{f"layer{index}": (f"layer{index}",) for index in range(1, 5)}}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Five feature maps, strides 2 to 32, of an image ``(B, in_channels, H, W)``."""
        stem = self.relu(self.bn1(self.conv1(self.adapter(image))))
        first = self.layer1(self.maxpool(stem))
        second = self.layer2(first)
        third = self.layer3(second)
        return [stem, first, second, third, self.layer4(third)]
