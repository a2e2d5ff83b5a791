"""What every encoder of the library offers to decoders, heads and strategies."""

from __future__ import annotations

from abc import abstractmethod

import torch

from medtl_monai.networks.staged import StagedNetwork


class Encoder(StagedNetwork):
    """Base class of encoders: an image goes in, one feature map per resolution level comes out.

    Tensor names are those of the published network, its head left out, so that its file loads by name.

    Attributes:
        architecture: name under which :data:`medtl_monai.networks.encoders.ENCODERS` builds it.
        spatial_dims: 2 or 3.
        in_channels: channels of the image that ``forward`` takes.
        channels: feature channels of each level, from shallow to deep.
        strides: for each level, the input voxels per feature voxel along each spatial axis.
        min_size: smallest input length that the published layers can work on, along the axes that they shorten.
        margin: pixels to add before and after the image, along the axes that are shortened, so that every level has
            exactly the input's length divided by its stride; only for layers that are published without padding.
        size_multiple: those input lengths have to be multiples of it (1: any length will do).
        adaptation: tensor name -> names of the rules in :data:`medtl_monai.weights.adapt.ADAPTATIONS` that turn the
            published tensor into this network's, in order; tensors that it does not name are taken as published.
        stages: ordered stage names from the stem to the last block; every parameter is in exactly one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spatial_dims = 0
        self.channels = tuple[int, ...]()
        self.strides = tuple[tuple[int, ...], ...]()
        self.min_size = 1
        self.margin = (0, 0)
        self.size_multiple = 1
        self.adaptation = dict[str, tuple[str, ...]]()

    @abstractmethod
    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps ``(B, channels[i], ...)``, one per level, of an image ``(B, in_channels, H, W[, D])``."""


def size_multiples(encoder: Encoder) -> list[int]:
    """The number that the input length along each axis has to be a multiple of."""
    return [encoder.size_multiple if stride > 1 else 1 for stride in encoder.strides[-1]]


def margins(encoder: Encoder) -> list[int]:
    """Pixels to add to an image for dense prediction, as ``F.pad`` takes them: last axis first, before and after."""
    return [pixels for stride in reversed(encoder.strides[-1]) for pixels in (encoder.margin if stride > 1 else (0, 0))]


def min_sizes(encoder: Encoder) -> list[int]:
    """The smallest input length along each axis; an axis that keeps its resolution (inflated depth) has none."""
    return [encoder.min_size if stride > 1 else 1 for stride in encoder.strides[-1]]
