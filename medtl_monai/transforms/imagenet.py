"""Images for networks that were trained on ImageNet as torchvision publishes them: three normalised channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import Lambdad, MapTransform, RepeatChanneld

from medtl_monai.errors import IntensityError
from medtl_monai.transforms.ct import ct_window, ct_windows_as_channels
from medtl_monai.transforms.mri import unit
from medtl_monai.transforms.names import case_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
# Noise and resampling may leave [0, 1] by some; HU, grey values to 255 and z-scores leave it by far more.
FAR_OUTSIDE_UNIT = 0.5


def imagenet(keys: KeysCollection, window: str | Sequence[str] | None = None) -> list[MapTransform]:
    """From raw one-channel images to three channels normalised by the mean and standard deviation of ImageNet.

    Args:
        keys: the images.
        window: how they get to [0, 1] before that. None: by percentiles (MR, radiographs); the name of a CT window:
            by that window, for CT in HU; three names: a window per channel.

    Raises:
        ConfigError: an unknown window.
    """
    if window is None:
        grey = unit(keys)
    elif isinstance(window, str):
        grey = ct_window(keys, window)
    else:
        return [*ct_windows_as_channels(keys, window), Lambdad(keys, normalise_as_imagenet)]
    return [*grey, RepeatChanneld(keys, repeats=3), Lambdad(keys, normalise_as_imagenet)]


def normalise_as_imagenet(image: torch.Tensor) -> torch.Tensor:
    """``(image - mean) / sd`` per channel, of an image ``(3, H, W[, D])`` in [0, 1], in float32.

    Raises:
        IntensityError: the image has not three channels, or its values are far outside [0, 1].
    """
    low, high = float(image.min()), float(image.max())
    if image.shape[0] != 3 or low < -FAR_OUTSIDE_UNIT or high > 1 + FAR_OUTSIDE_UNIT:
        raise IntensityError(
            "not an image for ImageNet's mean and standard deviation",
            case=case_of(image),
            expected="3 channels in [0, 1]",
            got=f"{image.shape[0]} channels from {low:g} to {high:g}",
            remedy="scale a grey image to [0, 1] by a window or by percentiles and repeat it three times first",
        )
    shape = (3, *[1] * (image.ndim - 1))
    mean = torch.tensor(IMAGENET_MEAN, device=image.device).reshape(shape)
    return (image.to(torch.float32) - mean) / torch.tensor(IMAGENET_SD, device=image.device).reshape(shape)
