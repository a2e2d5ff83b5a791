"""A U-Net decoder for the feature maps of any encoder, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.networks.encoder import Encoder

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_DROPOUTS = {2: nn.Dropout2d, 3: nn.Dropout3d}
_LINEAR_MODES = {2: "bilinear", 3: "trilinear"}
_GROUPS = 8  # group norm: works on feature maps of one voxel and on batches of one case
_WIDEST = {2: 256, 3: 128}


def decoder_widths(encoder: Encoder) -> list[int]:
    """Decoder channels for each encoder level, from shallow to deep: 16 at full resolution in 3D, 32 in 2D, doubling
    with every halving of the in-plane resolution, up to 128 and 256."""
    start = {2: 32, 3: 16}[encoder.spatial_dims]
    return [min(start * max(stride), _WIDEST[encoder.spatial_dims]) for stride in encoder.strides]


class ConvBlock(nn.Sequential):
    """Twice: 3x3[x3] convolution, group norm, leaky ReLU. ``(B, C, ...) -> (B, C', ...)``."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                _CONVOLUTIONS[spatial_dims](channels, out_channels, 3, padding=1, bias=False),
                nn.GroupNorm(_GROUPS, out_channels),
                nn.LeakyReLU(0.01, inplace=True),
            ]
        super().__init__(*layers)


class JoinBlock(nn.Module):
    """Resizes ``deep`` to the size of ``skip`` by linear interpolation, joins both, and mixes them."""

    def __init__(
        self, spatial_dims: int, deep_channels: int, skip_channels: int, out_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.mode = _LINEAR_MODES[spatial_dims]
        self.mix = ConvBlock(spatial_dims, deep_channels + skip_channels, out_channels)
        self.drop = _DROPOUTS[spatial_dims](dropout)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """``deep`` (B, C, h, w[, d]) and ``skip`` (B, C', H, W[, D]) -> (B, C", H, W[, D])."""
        if deep.shape[2:] != skip.shape[2:]:
            deep = F.interpolate(deep, size=skip.shape[2:], mode=self.mode, align_corners=False)
        return self.drop(self.mix(torch.cat([deep, skip], dim=1)))


class UNetDecoder(nn.Module):
    """Joins the levels of an encoder from deep to shallow, then the image itself.

    The skip connections sit at the encoder's own strides, whatever they are: equal strides (the dilated MedicalNet, a
    ViT) are joined without resizing, a step of 4 is resized at once. The last join takes two fresh convolutions of
    the image as its skip connection, so that the result has the detail of the image where the stem has stride 2 or 4.

    Args:
        encoder: the encoder whose levels are joined; it is only asked for its numbers.
        widths: channels after the join at each encoder level, from shallow to deep (multiples of 8; the deepest is
            not used); None for :func:`decoder_widths`.
        dropout: probability of dropping a feature map after each join.
    """

    def __init__(self, encoder: Encoder, widths: Sequence[int] | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        dims = encoder.spatial_dims
        wide = list(widths) if widths is not None else decoder_widths(encoder)
        self.out_channels = min(_GROUPS * 2 if dims == 3 else _GROUPS * 4, wide[0])
        self.detail = ConvBlock(dims, encoder.in_channels, self.out_channels)
        joins: list[nn.Module] = []
        deep = encoder.channels[-1]
        for level in range(len(encoder.channels) - 2, -1, -1):
            joins.append(JoinBlock(dims, deep, encoder.channels[level], wide[level], dropout))
            deep = wide[level]
        self.joins = nn.ModuleList(joins)
        self.last = JoinBlock(dims, deep, self.out_channels, self.out_channels, dropout)

    def forward(self, image: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """``image`` (B, C, H, W[, D]) and its feature maps, shallow to deep -> (B, out_channels, H, W[, D])."""
        level = len(features) - 1
        joined = features[level]
        for join in self.joins:
            level -= 1
            joined = join(joined, features[level])
        return self.last(joined, self.detail(image))
