"""A small 3D U-Net that takes any input size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork


def _padding(length: int) -> int:
    """Voxels to add so that three halvings come out even and the deepest level keeps 2 voxels for instance norm."""
    return max(16, length + (-length) % 8) - length


class ConvNormAct(nn.Sequential):
    """3x3x3 convolution, instance norm, leaky ReLU: ``(B, C, H, W, D) -> (B, C', H/s, W/s, D/s)``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.InstanceNorm3d(out_channels, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )


class Level(nn.Sequential):
    """Two convolutions and dropout: one resolution level of the encoder or the decoder."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__(
            ConvNormAct(in_channels, out_channels, stride),
            ConvNormAct(out_channels, out_channels),
            nn.Dropout3d(dropout),
        )


class UpLevel(nn.Module):
    """Doubles the resolution of ``deep``, joins it with ``skip``, and mixes both."""

    def __init__(self, deep_channels: int, skip_channels: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(deep_channels, skip_channels, kernel_size=2, stride=2)
        self.mix = Level(2 * skip_channels, skip_channels, 1, dropout)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``deep`` (B, C, H, W, D) and ``skip`` (B, C', 2H, 2W, 2D) -> (B, C', 2H, 2W, 2D)."""
        return self.mix(torch.cat([self.up(deep), skip], dim=1))


class SmallUNet(StagedNetwork):
    """U-Net (Cicek et al. 2016, arXiv:1606.06650) with four resolution levels and instance norm.

    Input ``(B, in_channels, H, W, D)`` of any size; it is padded inside with edge values to multiples of 8, at least
    16, and the output ``(B, out_channels, H, W, D)`` holds logits on the input's own voxels.

    Args:
        in_channels: input channels.
        out_channels: classes, background included.
        channels: features at the four resolution levels.
        dropout: probability of dropping a feature map at the end of each level.
    """

    architecture = "unet"

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (16, 32, 64, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(channels) != 4:
            raise ConfigError("a SmallUNet has four levels", expected="4 channel numbers", got=list(channels))
        first, second, third, fourth = channels
        self.in_channels, self.out_channels, self.dropout = in_channels, out_channels, dropout
        self.stem = Level(in_channels, first, 1, dropout)
        self.down1 = Level(first, second, 2, dropout)
        self.down2 = Level(second, third, 2, dropout)
        self.down3 = Level(third, fourth, 2, dropout)
        self.up3 = UpLevel(fourth, third, dropout)
        self.up2 = UpLevel(third, second, dropout)
        self.up1 = UpLevel(second, first, dropout)
        self.head_conv = nn.Conv3d(first, out_channels, kernel_size=1)
        names = ("stem", "down1", "down2", "down3", "up3", "up2", "up1")
        self.stages = {**{name: (name,) for name in names}, "head": ("head_conv",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels, H, W, D)`` for an image ``(B, in_channels, H, W, D)``."""
        height, width, depth = image.shape[2], image.shape[3], image.shape[4]
        padding = [0, _padding(depth), 0, _padding(width), 0, _padding(height)]
        x0 = self.stem(F.pad(image, padding, mode="replicate"))
        x1 = self.down1(x0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        logits = self.head_conv(self.up1(self.up2(self.up3(x3, x2), x1), x0))
        return logits[:, :, :height, :width, :depth]
