"""Segmentation with any encoder."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.networks.decoder import UNetDecoder
from medtl_monai.networks.encoder import Encoder, margins, min_sizes
from medtl_monai.networks.padding import add_margin, crop_to, pad_to
from medtl_monai.networks.staged import StagedNetwork

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class TransferUNet(StagedNetwork):
    """U-Net (Ronneberger et al. 2015, arXiv:1505.04597) whose contracting path is a pretrained encoder.

    Input ``(B, in_channels, H, W[, D])`` of any size: it is padded inside, with its edge values, to multiples of the
    deepest stride, and by a margin where the published stem has no padding of its own, so that the maps of all levels
    lie on one grid whatever the size; the output ``(B, out_channels, H, W[, D])`` holds logits on the input's own
    voxels.

    Stages: those of the encoder, then ``decoder`` (fresh), then ``head``.

    Args:
        encoder: the encoder; its attributes ``intensity`` and ``orientation`` become those of the network.
        out_channels: classes, background included.
        decoder: joins the encoder's levels; None for a :class:`UNetDecoder` with its own widths.
        dropout: dropout probability in that decoder.
    """

    def __init__(
        self, encoder: Encoder, out_channels: int = 2, decoder: UNetDecoder | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.architecture = f"unet_{encoder.architecture}"
        self.in_channels, self.out_channels, self.dropout = encoder.in_channels, out_channels, dropout
        self.intensity, self.orientation = encoder.intensity, encoder.orientation
        self.encoder = encoder
        self.decoder = UNetDecoder(encoder, dropout=dropout) if decoder is None else decoder
        self.head_conv = _CONVOLUTIONS[encoder.spatial_dims](self.decoder.out_channels, out_channels, kernel_size=1)
        self.stages = {
            **{stage: tuple(f"encoder.{name}" for name in names) for stage, names in encoder.stages.items()},
            "decoder": ("decoder",),
            "head": ("head_conv",),
        }
        self.multiple = list(encoder.strides[-1])
        self.margin = margins(encoder)
        self.minimum = [max(least, step) for least, step in zip(min_sizes(encoder), self.multiple, strict=True)]
        # One axis keeps two voxels at the deepest level: batch norm cannot be trained on a single value.
        self.minimum[0] = max(self.minimum[0], 2 * self.multiple[0])

    @property
    def task_stages(self) -> tuple[str, ...]:
        """The decoder and the head: no published weights fill them."""
        return ("decoder", self.head)

    def task_input(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's feature maps."""
        return list(self.encoder(add_margin(pad_to(image, self.multiple, self.minimum), self.margin)))

    def task_output(self, features: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """Logits from the encoder's feature maps; the decoder sees the image too."""
        padded = pad_to(image, self.multiple, self.minimum)
        return crop_to(self.head_conv(self.decoder(padded, features)), image)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels, H, W[, D])`` for an image ``(B, in_channels, H, W[, D])``."""
        padded = pad_to(image, self.multiple, self.minimum)
        return crop_to(self.head_conv(self.decoder(padded, self.encoder(add_margin(padded, self.margin)))), image)
