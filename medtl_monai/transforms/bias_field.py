"""Correction of the slow brightness changes that coils leave in MR images."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Mapping
from types import ModuleType

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.intensity import like, to_array
from medtl_monai.transforms.names import case_of


def _itk() -> ModuleType:
    try:
        return importlib.import_module("itk")
    except ImportError as error:
        raise ConfigError(
            "the correction of bias fields needs the package itk",
            expected="itk installed",
            got=str(error),
            remedy="pip install 'medtl-monai[bias-field]', or leave bias_field off",
        ) from error


def corrected(image: torch.Tensor, shrink: int = 4) -> torch.Tensor:
    """An MR volume ``(1, H, W, D)`` divided by its bias field, estimated by N4 (Tustison et al., IEEE TMI 29, 1310).

    The field is estimated on every ``shrink``-th voxel where the image is brighter than Otsu's threshold, and is smooth
    between them. The field is positive everywhere.

    Args:
        image: one channel, mostly positive.
        shrink: 1 or more; axes shorter than ``8 * shrink`` are shrunken less.

    Raises:
        IntensityError: several channels, or no positive values.
        ConfigError: itk is not installed.
    """
    itk = _itk()
    values = to_array(image)
    if values.shape[0] != 1 or not (values > 0).any():
        raise IntensityError(
            "no MR volume with a bias field",
            case=case_of(image),
            expected="one channel with positive values",
            got=f"{values.shape[0]} channels, maximum {values.max():g}",
        )
    volume = np.ascontiguousarray(values[0])
    steps = [max(1, min(shrink, length // 8)) for length in volume.shape]
    small = np.ascontiguousarray(volume[tuple(slice(None, None, step) for step in steps)])
    threshold = itk.OtsuThresholdImageFilter.New(itk.image_view_from_array(small))
    threshold.Update()
    mask = (small > threshold.GetThreshold()).astype(np.uint8)
    kind = type(itk.image_view_from_array(small))
    correct = itk.N4BiasFieldCorrectionImageFilter[kind, type(itk.image_view_from_array(mask)), kind].New()
    correct.SetInput(itk.image_view_from_array(np.maximum(small, np.finfo(np.float32).tiny)))
    correct.SetMaskImage(itk.image_view_from_array(mask))
    correct.SetNumberOfWorkUnits(torch.get_num_threads())
    correct.Update()
    log_field = itk.array_from_image(correct.ReconstructBiasField(correct.GetLogBiasFieldControlPointLattice()))
    return like((volume / np.exp(_stretched(log_field, volume.shape, steps)))[None], image)


def _stretched(field: np.ndarray, shape: tuple[int, ...], steps: list[int]) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    grid = np.meshgrid(*(np.arange(length) / step for length, step in zip(shape, steps, strict=True)), indexing="ij")
    found: np.ndarray = map_coordinates(field, grid, order=1, mode="nearest", output=np.float32)
    return found


class BiasFieldd(MapTransform):
    """:func:`corrected` for dictionaries.

    Args:
        keys: MR volumes ``(1, H, W, D)``.
        shrink: as there.
    """

    def __init__(self, keys: KeysCollection, shrink: int = 4) -> None:
        super().__init__(keys)
        self.shrink = shrink

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The corrected items."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = corrected(items[key], self.shrink)
        return items
