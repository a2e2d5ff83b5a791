"""What the 2D encoders pretrained on ImageNet have in common."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.networks.encoder import Encoder


class ImageNetEncoder(Encoder):
    """A published 2D network without its head; input ``(B, in_channels, H, W)``, any orientation.

    Attributes:
        stem_mode: how images reach the published RGB stem, a key of :data:`medtl_monai.networks.stem.STEMS`.
        stem_convolution: name of the first convolution.
        adapter: what happens to the image before that convolution; it has no tensors of its own.
    """

    def __init__(self, architecture: str, stem_convolution: str) -> None:
        super().__init__()
        self.architecture = architecture
        self.spatial_dims = 2
        self.in_channels = 3
        self.orientation = ""
        self.intensity = "imagenet"
        self.stem_mode = "rgb"
        self.stem_convolution = stem_convolution
        self.adapter: nn.Module = nn.Identity()

    def source_features(self, image: torch.Tensor) -> torch.Tensor:
        """What the published head works on: here the deepest feature map ``(B, C, h, w)``."""
        levels = self.forward(image)
        return levels[len(levels) - 1]
