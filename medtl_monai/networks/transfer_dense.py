"""Segmentation by a linear classifier of single voxels on the features of any encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder, margins, min_sizes
from medtl_monai.networks.padding import add_margin, crop_to, pad_to
from medtl_monai.networks.staged import StagedNetwork

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


class DenseHead(nn.Module):
    """Features of all levels at every voxel to logits, as one linear layer.

    A linear layer and linear interpolation can change places: each level gets its own 1x1 convolution at its own
    resolution, and the few logits are brought to the voxel grid instead of the many features.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the levels, shallow level first.
        out_channels: classes.
        dropout: probability of dropping a feature map.
    """

    def __init__(self, spatial_dims: int, channels: tuple[int, ...], out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[spatial_dims]
        self.dropout = (nn.Dropout2d if spatial_dims == 2 else nn.Dropout3d)(dropout)
        self.levels = nn.ModuleList(
            convolution(width, out_channels, kernel_size=1, bias=level == 0) for level, width in enumerate(channels)
        )
        self.mode = _LINEAR[spatial_dims]

    def forward(self, maps: list[torch.Tensor], size: list[int]) -> torch.Tensor:
        """Logits ``(B, out_channels, *size)`` of feature maps ``(B, C, ...)``."""
        logits: list[torch.Tensor] = []
        for index, level in enumerate(self.levels):
            part = level(self.dropout(maps[index]))
            logits.append(F.interpolate(part, size=size, mode=self.mode, align_corners=False))
        return torch.stack(logits).sum(dim=0)


class TransferDense(StagedNetwork):
    """A pretrained encoder and a linear classifier of voxels on the features of all its levels.

    Input ``(B, in_channels, H, W[, D])`` of any size: it is padded inside, with its edge values, to multiples of the
    deepest stride, and where the published stem does not pad by a margin, so that the maps of all levels lie on one
    grid whatever the size; the output ``(B, out_channels, H, W[, D])`` holds logits on the input's own voxels. The
    features are those of :func:`medtl_monai.transfer.features.dense_features`.

    Stages: those of the encoder, then ``head``.

    Args:
        encoder: the encoder; its attributes ``intensity`` and ``orientation`` become those of the network.
        out_channels: classes, background included.
        dropout: probability of dropping a feature map before the linear layer.
    """

    def __init__(self, encoder: Encoder, out_channels: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = f"dense_{encoder.architecture}"
        self.in_channels, self.out_channels, self.dropout = encoder.in_channels, out_channels, dropout
        self.intensity, self.orientation = encoder.intensity, encoder.orientation
        self.encoder = encoder
        self.dense_head = DenseHead(encoder.spatial_dims, tuple(encoder.channels), out_channels, dropout)
        self.stages = {
            **{stage: tuple(f"encoder.{name}" for name in names) for stage, names in encoder.stages.items()},
            "head": ("dense_head",),
        }
        self.multiple = list(encoder.strides[-1])
        self.margin = margins(encoder)
        self.minimum = [max(least, step) for least, step in zip(min_sizes(encoder), self.multiple, strict=True)]

    def task_input(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's feature maps."""
        return list(self.encoder(add_margin(pad_to(image, self.multiple, self.minimum), self.margin)))

    def task_output(self, features: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Logits from the encoder's feature maps."""
        padded = pad_to(image, self.multiple, self.minimum)
        return crop_to(self.dense_head(features, list(padded.shape[2:])), image)

    @torch.no_grad()
    def set_head(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take over a linear classifier of dense features.

        Args:
            weight: ``(out_channels, F)``, F the sum of all levels' channels, shallow level first.
            bias: ``(out_channels,)``.

        Raises:
            ConfigError: other shapes.
        """
        widths = list(self.encoder.channels)
        wanted = ((self.out_channels, sum(widths)), (self.out_channels,))
        if (tuple(weight.shape), tuple(bias.shape)) != wanted:
            raise ConfigError(
                "this linear classifier does not fit the head",
                expected=f"weight {wanted[0]}, bias {wanted[1]}",
                got=f"{tuple(weight.shape)}, {tuple(bias.shape)}",
            )
        first = self.dense_head.levels[0]
        first.bias.copy_(bias)
        for level, part in zip(self.dense_head.levels, weight.split(widths, dim=1), strict=True):
            level.weight.copy_(part.reshape(level.weight.shape))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels, H, W[, D])`` for an image ``(B, in_channels, H, W[, D])``."""
        padded = pad_to(image, self.multiple, self.minimum)
        return crop_to(self.dense_head(self.encoder(add_margin(padded, self.margin)), list(padded.shape[2:])), image)
