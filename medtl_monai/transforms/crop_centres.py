"""Places for the centres of random patches, where small structures count as much as large ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.transforms import MapTransform

PLACES = 4096  # of each structure, and of the background: enough to vary, little to keep for every case


class CropCentresd(MapTransform):
    """Add voxels of every structure, equally many of each, and of the background, for ``RandCropByPosNegLabeld``.

    MONAI's crop draws from all labelled voxels, so that a liver has a hundred centres for one of an adrenal gland.
    Given these lists (its ``fg_indices_key`` and ``bg_indices_key``) it draws a structure of the case first, then a
    voxel of it, and keeps its odds of labelled to other centres, whichever structures are missing. (MONAI's crop by
    class gives the share of missing structures to the background.) The lists depend on the label alone, so a cached
    data set makes them once.

    Label: channel-first, ``(1, H, W[, D])``, whole numbers, 0 the background. The lists hold positions in the flattened
    label; a structure with fewer than ``PLACES`` voxels repeats them.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Case with ``KEY_fg_indices`` and ``KEY_bg_indices`` for every key."""
        found = dict(data)
        for key in self.key_iterator(found):
            label = np.asarray(found[key]).astype(np.int64).ravel()
            drawn = {int(value): _some(np.flatnonzero(label == value)) for value in _values(label)}
            labelled = [places for value, places in drawn.items() if value]
            found[f"{key}_fg_indices"] = np.concatenate(labelled) if labelled else np.empty(0, np.int64)
            found[f"{key}_bg_indices"] = drawn.get(0, np.empty(0, np.int64))
        return found


def _values(label: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(label))


def _some(places: np.ndarray) -> np.ndarray:
    """`PLACES` of these: random ones, as evenly spaced ones would all lie in few rows of the grid."""
    rng = np.random.default_rng(0)
    if len(places) > PLACES:
        return np.sort(rng.choice(places, PLACES, replace=False))
    return np.resize(places, PLACES)
