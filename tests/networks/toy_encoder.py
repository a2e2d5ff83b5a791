"""A tiny encoder for tests of what is built around encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medtl_monai.networks.encoder import Encoder


class ToyEncoder(Encoder):
    """One convolution and batch norm per level, with the given stride from level to level."""

    def __init__(self, spatial_dims: int = 3, steps: Sequence[int] = (2, 2, 1, 4), in_channels: int = 1) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[spatial_dims]
        self.architecture, self.spatial_dims, self.in_channels = "toy", spatial_dims, in_channels
        self.channels = tuple(8 * (level + 1) for level in range(len(steps)))
        self.levels = nn.ModuleList()
        stride, strides, deep = 1, [], in_channels
        for channels, step in zip(self.channels, steps, strict=True):
            self.levels.append(
                nn.Sequential(convolution(deep, channels, 3, step, padding=1, bias=False), norm(channels), nn.ReLU())
            )
            deep, stride = channels, stride * step
            strides.append((stride,) * spatial_dims)
        self.strides = tuple(strides)
        self.stages = {f"level{index}": (f"levels.{index}",) for index in range(len(steps))}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features
