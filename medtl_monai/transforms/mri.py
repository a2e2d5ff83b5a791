"""Intensities of MR images, whose values have no unit: each volume is its own scale."""

from __future__ import annotations

from monai.config import KeysCollection
from monai.transforms import Lambdad, MapTransform, NormalizeIntensityd

from medtl_monai.transforms.intensity import clipped_zscore, unit_by_percentiles


def unit(keys: KeysCollection) -> list[MapTransform]:
    """Scale each channel from its 0.5th and 99.5th percentile to [0, 1] and clip.

    When it runs, it raises IntensityError where the two percentiles are equal.
    """
    return [Lambdad(keys, unit_by_percentiles)]


def zscore(keys: KeysCollection) -> list[MapTransform]:
    """Give each channel zero mean and unit variance over the whole volume, background included.

    MONAI's transform works in place on a float32 image.
    """
    return [NormalizeIntensityd(keys, channel_wise=True)]


def robust_zscore(keys: KeysCollection) -> list[MapTransform]:
    """Clip each channel to its 0.5th and 99.5th percentile, then give it zero mean and unit variance.

    When it runs, it raises IntensityError where the two percentiles are equal.
    """
    return [Lambdad(keys, clipped_zscore)]
