"""Nearest-neighbour zoom from corner to corner, as scipy.ndimage.zoom of order 0 does it, with its geometry kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys

from medtl_monai.errors import ConfigError


def nearest_indices(length: int, wanted: int) -> list[int]:
    """For each of ``wanted`` output voxels the input voxel it copies; first and last fall on first and last."""
    step = (length - 1) / (wanted - 1) if wanted > 1 else 0.0
    return np.clip(np.floor(np.arange(wanted) * step + 0.5).astype(int), 0, length - 1).tolist()


def zoom_nearest(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """``(C, *size)`` of ``(C, H, W[, D])``: every voxel copied from its nearest, corners on corners.

    Equal to ``scipy.ndimage.zoom(order=0)``, except that for a few pairs of sizes scipy's rounding falls outside the
    image and fills the last slice with zeros.
    """
    for axis, wanted in enumerate(size, start=1):
        index = torch.tensor(nearest_indices(image.shape[axis], wanted), device=image.device)
        image = image.index_select(axis, index)
    return image


def _step(old: int, new: int) -> float:
    """Input voxels per output voxel; where there is only one voxel, as if the borders were aligned."""
    return (old - 1) / (new - 1) if old > 1 and new > 1 else old / new


class ZoomNearestd(MapTransform, InvertibleTransform):
    """:func:`zoom_nearest` on dictionary items, for images and labels alike; the affine follows, ``Invertd`` undoes it.

    MONAI's ``Resized(mode="nearest")`` and ``Zoomd`` pick other voxels: they align the borders, not the corners.

    Args:
        keys: items ``(C, H, W[, D])``.
        size: wanted size of each spatial axis, in voxels.

    Raises:
        ConfigError: a size below 1.
    """

    def __init__(self, keys: KeysCollection, size: Sequence[int]) -> None:
        super().__init__(keys)
        if not size or min(size) < 1:
            raise ConfigError("no such image size", expected="at least 1 voxel along every axis", got=tuple(size))
        self.size = tuple(int(length) for length in size)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The items at the new size. Raises ConfigError where the number of axes differs."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._zoom(items[key], self.size)
        return items

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The items back at the size they had; exact for a label that was not made smaller."""
        items = dict(data)
        for key in self.key_iterator(items):
            before = self.pop_transform(items[key])[TraceKeys.ORIG_SIZE]
            with self.trace_transform(False):
                items[key] = self._zoom(items[key], tuple(before))
        return items

    def _zoom(self, image: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        before = tuple(image.shape[1:])
        if len(before) != len(size):
            raise ConfigError("image and wanted size differ in axes", expected=f"{len(size)} axes", got=before)
        zoomed = zoom_nearest(image, size)
        if isinstance(zoomed, MetaTensor):
            steps = [_step(old, new) for old, new in zip(before, size, strict=True)]
            info = self.track_transform_meta(
                image,
                sp_size=size,
                affine=torch.diag(torch.tensor([*steps, 1.0], dtype=torch.float64)),
                orig_size=before,
                transform_info=self.get_transform_info(),
            )
            zoomed = zoomed.copy_meta_from(info)
        return zoomed
