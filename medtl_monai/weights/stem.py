"""Stem weights of RGB networks made to fit images with another number of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medtl_monai.errors import ConfigError, WeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of the published ImageNet networks, for RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)


def _require(weight: torch.Tensor, in_channels: int, colours: int) -> None:
    if in_channels < 1:
        raise ConfigError(
            "an image needs a channel", expected="in_channels >= 1", got=in_channels, remedy="give the number you have"
        )
    if weight.dim() < 3 or weight.shape[1] != colours:
        raise WeightsError(
            "this is not the weight of an RGB stem",
            expected=f"shape (out, {colours}, ...)",
            got=f"shape {tuple(weight.shape)}",
            remedy="give the tensor as published",
        )


def _columns(values: Sequence[float], weight: torch.Tensor) -> torch.Tensor:
    shape = [1, len(values), *[1] * (weight.dim() - 2)]
    return torch.tensor(values, dtype=weight.dtype, device=weight.device).reshape(shape)


def fold_normalisation(
    weight: torch.Tensor,
    in_channels: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> torch.Tensor:
    """Stem weight that takes raw intensities and a channel of ones, and gives what the published one gives.

    ``sum_c w_c * (x_c - mean_c) / std_c`` is ``sum_c (w_c / std_c) * x_c`` plus ``-sum_c w_c * mean_c / std_c`` times a
    channel of ones. The ones are a channel and not a bias because the published network pads the *normalised* image
    with zeros: a bias would be added where the kernel hangs over the border too.

    Args:
        weight: published weight ``(out, len(mean), ...)``, any number of spatial axes.
        in_channels: image channels. As many as in ``mean``: each is one colour. Otherwise every colour is the mean of
            the image channels, so one channel stands for a grey image.
        mean, std: the normalisation of the published network.

    Returns:
        Weight ``(out, in_channels + 1, ...)``; the last input channel belongs to the ones.

    Raises:
        ConfigError: ``in_channels < 1``.
        WeightsError: ``weight`` has not one input channel per value of ``mean``.
    """
    _require(weight, in_channels, len(mean))
    exact = weight.double()
    scaled = exact / _columns(std, exact)
    ones = -(scaled * _columns(mean, exact)).sum(dim=1, keepdim=True)
    if in_channels != len(mean):
        scaled = _spread(scaled, in_channels)
    return torch.cat([scaled, ones], dim=1).to(weight.dtype)


def sum_channels(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """RGB stem weight ``(out, 3, ...)`` summed over colours and shared out: ``(out, in_channels, ...)``.

    The response to a grey image, the same in all channels, is unchanged. Raises ConfigError for ``in_channels < 1`` and
    WeightsError unless ``weight`` has three input channels.
    """
    _require(weight, in_channels, len(IMAGENET_MEAN))
    return _spread(weight.double(), in_channels).to(weight.dtype)


def _spread(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    repeats = [1, in_channels, *[1] * (weight.dim() - 2)]
    return (weight.sum(dim=1, keepdim=True) / in_channels).repeat(repeats)
