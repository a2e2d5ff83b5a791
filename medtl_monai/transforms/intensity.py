"""Scaling of intensities: functions of channel-first arrays, which never change what they are given."""

from __future__ import annotations

import numpy as np
import torch
from monai.utils import convert_to_dst_type

from medtl_monai.errors import IntensityError
from medtl_monai.transforms.names import case_of

LOWER_PERCENTILE, UPPER_PERCENTILE = 0.5, 99.5  # Med3D (arXiv:1904.00625) and common practice for MR


def like(values: np.ndarray, image: torch.Tensor) -> torch.Tensor:
    """``values`` as a float32 tensor of the kind of ``image``, with its meta data."""
    return convert_to_dst_type(values, dst=image, dtype=torch.float32)[0]


def to_array(image: torch.Tensor) -> np.ndarray:
    """A float32 copy of an image as a plain array."""
    return np.array(torch.as_tensor(image).detach().cpu().numpy(), dtype=np.float32)


def clip_to_percentiles(image: torch.Tensor) -> torch.Tensor:
    """Each channel of ``(C, H, W[, D])`` cut off at its 0.5th and 99.5th percentile, in float32.

    Raises:
        IntensityError: the two percentiles of a channel are equal.
    """
    channels = to_array(image)
    for channel in channels:
        np.clip(channel, *_percentiles(channel, image), out=channel)
    return like(channels, image)


def clipped_zscore(image: torch.Tensor) -> torch.Tensor:
    """Each channel of ``(C, H, W[, D])`` clipped as by :func:`clip_to_percentiles`, then mean 0 and variance 1.

    Raises:
        IntensityError: the two percentiles of a channel are equal.
    """
    channels = to_array(clip_to_percentiles(image)).astype(np.float64)
    space = tuple(range(1, channels.ndim))
    channels -= channels.mean(axis=space, keepdims=True)
    channels /= channels.std(axis=space, keepdims=True)
    return like(channels, image)


def unit_by_percentiles(image: torch.Tensor) -> torch.Tensor:
    """Each channel of ``(C, H, W[, D])`` scaled so that its 0.5th percentile is 0, its 99.5th 1; clipped to [0, 1].

    Raises:
        IntensityError: the two percentiles of a channel are equal.
    """
    channels = to_array(image)
    for channel in channels:
        low, high = _percentiles(channel, image)
        channel -= low
        channel /= high - low
        np.clip(channel, 0.0, 1.0, out=channel)
    return like(channels, image)


def _percentiles(channel: np.ndarray, image: torch.Tensor) -> tuple[float, float]:
    low, high = np.percentile(channel, (LOWER_PERCENTILE, UPPER_PERCENTILE))
    if not low < high:
        raise IntensityError(
            "too few voxels differ from the background to scale by percentiles",
            case=case_of(image),
            expected=f"different {LOWER_PERCENTILE}th and {UPPER_PERCENTILE}th percentiles",
            got=f"both {low:g}, in a range of {channel.min():g} to {channel.max():g}",
            remedy="crop to the foreground first, or check that this is an image and not a mask",
        )
    return float(low), float(high)
