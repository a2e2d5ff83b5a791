"""Binary masks as input of a network: shapes without intensities."""

from __future__ import annotations

from functools import partial

import torch
from monai.config import KeysCollection
from monai.transforms import Lambdad, MapTransform
from torch import nn

from medtl_monai.errors import IntensityError
from medtl_monai.lookup import look_up
from medtl_monai.transforms.names import case_of

_CENTRED = {"unit": False, "zscore": True, "robust_zscore": True}


def mask_as_input(image: torch.Tensor, centred: bool) -> torch.Tensor:
    """A mask ``(1, H, W[, D])`` of 0 and one larger value as 0 and 1 in float32; or ``centred``: mean 0, variance 1.

    Raises:
        IntensityError: other values, or a mask that is empty or full.
    """
    low, high = float(image.min()), float(image.max())
    if low != 0 or high == 0 or not bool(((image == 0) | (image == high)).all()):
        got = f"{len(torch.unique(image))} values from {low:g} to {high:g}"
        remedy = "give a mask; for images use the intensities that the network expects"
        expected = "0 and one larger value"
        raise IntensityError("not a mask", case=case_of(image), expected=expected, got=got, remedy=remedy)
    mask = (image > 0).to(torch.float32)
    return (mask - mask.mean()) / mask.std(correction=0) if centred else mask


def mask_intensity_for(network: nn.Module, keys: KeysCollection) -> MapTransform:
    """Bring binary masks to what a network expects (its attribute ``intensity``, else ``"zscore"``).

    ``"unit"``: 0 and 1. ``"zscore"``, ``"robust_zscore"``: mean 0 and variance 1 over the volume. Percentiles, by which
    images are scaled, are left out: an object below half a percent of the volume would vanish.

    Raises:
        ConfigError: the network expects something that this library does not know.
        IntensityError: when it runs, an image that is no mask.
    """
    intensity = str(getattr(network, "intensity", "zscore"))
    return Lambdad(keys, partial(mask_as_input, centred=look_up(_CENTRED, intensity, "intensity")))
