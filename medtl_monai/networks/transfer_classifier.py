"""Classification with any encoder."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.networks.encoder import Encoder, min_sizes, size_multiples
from medtl_monai.networks.padding import pad_to
from medtl_monai.networks.staged import StagedNetwork


class ClassificationHead(nn.Sequential):
    """Dropout and a linear layer: pooled features ``(B, in_features) -> logits (B, out_channels)``."""

    def __init__(self, in_features: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(in_features, out_channels))


class TransferClassifier(StagedNetwork):
    """A pretrained encoder, the mean of its deepest feature map over space, and a head.

    Input ``(B, in_channels, H, W[, D])``; an image smaller than the encoder can work on is padded inside with its edge
    values. Output: logits ``(B, out_channels)``. Stages: those of the encoder, then ``head``.

    Args:
        encoder: the encoder; its attributes ``intensity`` and ``orientation`` become those of the network.
        out_channels: number of classes.
        head: takes ``(B, encoder.channels[-1])``; None for a :class:`ClassificationHead`.
        dropout: dropout probability in that head.
    """

    def __init__(
        self, encoder: Encoder, out_channels: int = 2, head: nn.Module | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.architecture = f"classifier_{encoder.architecture}"
        self.in_channels, self.out_channels, self.dropout = encoder.in_channels, out_channels, dropout
        self.intensity, self.orientation = encoder.intensity, encoder.orientation
        self.encoder = encoder
        self.class_head = ClassificationHead(encoder.channels[-1], out_channels, dropout) if head is None else head
        self.stages = {
            **{stage: tuple(f"encoder.{name}" for name in names) for stage, names in encoder.stages.items()},
            "head": ("class_head",),
        }
        self.multiple = size_multiples(encoder)
        self.minimum = min_sizes(encoder)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Pooled features ``(B, encoder.channels[-1])`` of an image ``(B, in_channels, H, W[, D])``."""
        levels = self.encoder(pad_to(image, self.multiple, self.minimum))
        return levels[len(levels) - 1].flatten(2).mean(dim=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels)`` for an image ``(B, in_channels, H, W[, D])``."""
        return self.class_head(self.features(image))
