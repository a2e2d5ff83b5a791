"""Ways to bring an image with any number of channels to a stem that was trained on RGB."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.weights.stem import IMAGENET_MEAN, IMAGENET_STD, fold_normalisation, sum_channels

# Way -> the intensities it expects, as StagedNetwork.intensity names them.
STEMS = {"rgb": "imagenet", "fold": "unit", "replicate": "unit", "sum": "imagenet"}
_CHANNELS = {"rgb": 3, "replicate": 1}  # the ways that need a certain number


class AppendOnes(nn.Module):
    """Adds a channel of ones: ``(B, C, ...) -> (B, C + 1, ...)``."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image with a last channel of ones, so that the stem's zero padding ends the ones at the border."""
        return torch.cat([image, torch.ones_like(image[:, :1])], dim=1)


class ReplicateAndNormalise(nn.Module):
    """Grey in [0, 1] to RGB with ImageNet's mean and standard deviation: ``(B, 1, ...) -> (B, 3, ...)``."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image three times, normalised per colour."""
        shape = [1, 3] + [1] * (image.dim() - 2)
        return (image - self.mean.reshape(shape)) / self.std.reshape(shape)


def require_stem(stem: str, in_channels: int) -> None:
    """Raise ConfigError unless ``stem`` is one of :data:`STEMS` and works with ``in_channels`` channels."""
    if stem not in STEMS:
        raise ConfigError(
            "unknown stem", expected="one of " + ", ".join(STEMS), got=stem, remedy="'fold' takes any image in [0, 1]"
        )
    if in_channels < 1 or in_channels != _CHANNELS.get(stem, in_channels):
        raise ConfigError(
            f"stem {stem!r} does not take this number of channels",
            expected=f"{_CHANNELS[stem]} channels" if stem in _CHANNELS else "at least 1 channel",
            got=in_channels,
            remedy="'fold' and 'sum' take any number from 1",
        )


def adapt_stem(encoder: ImageNetEncoder, in_channels: int, stem: str) -> None:
    """Make an encoder as torchvision builds it take images with ``in_channels`` channels, its weights adapted.

    =========== ================================== ================================== =========================
    way         image                              stem weight                        exact where
    =========== ================================== ================================== =========================
    rgb         3 channels, ImageNet-normalised    published                          always
    fold        any number, in [0, 1]              normalisation folded in, one input up to rounding
                                                   channel more, for the ones
    replicate   1 channel, in [0, 1]               published                          always
    sum         any number, normalised by caller   summed over RGB, shared out        all channels are the same
    =========== ================================== ================================== =========================

    Sets ``in_channels``, ``stem_mode``, ``intensity`` and ``adaptation``; the names in its state dict stay.

    Raises:
        ConfigError: an unknown way, or one that does not take this number of channels.
    """
    require_stem(stem, in_channels)
    weight = f"{encoder.stem_convolution}.weight"
    encoder.in_channels, encoder.stem_mode, encoder.intensity = in_channels, stem, STEMS[stem]
    encoder.adaptation = {weight: (stem,)} if stem in ("fold", "sum") else {}
    published = encoder.get_parameter(weight).detach()
    if stem == "replicate":
        encoder.adapter = ReplicateAndNormalise()
    elif stem == "fold":
        encoder.adapter = AppendOnes()
        _replace_convolution(encoder, fold_normalisation(published, in_channels))
    elif stem == "sum":
        _replace_convolution(encoder, sum_channels(published, in_channels))


def _replace_convolution(encoder: ImageNetEncoder, weight: torch.Tensor) -> None:
    """Give the first convolution this weight, and the number of input channels that it has."""
    convolution = encoder.get_submodule(encoder.stem_convolution)
    if not isinstance(convolution, nn.Conv2d) or convolution.groups != 1:
        raise ConfigError(f"{encoder.stem_convolution!r} of {encoder.architecture!r} is not a plain 2D convolution")
    convolution.in_channels = weight.shape[1]
    convolution.weight = nn.Parameter(weight)
