"""What a label map holds: how much of each value, in how many pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_MOST_DIRECT = 65_535  # larger label values are numbered anew before pieces are looked for


@dataclass(frozen=True)
class LabelFacts:
    """One label value in one case.

    Attributes:
        voxels: how many.
        ml: their volume in millilitres.
        pieces: how many connected pieces (faces touch).
        smallest_ml, largest_ml: volumes of the smallest and of the largest piece.
    """

    voxels: int
    ml: float
    pieces: int
    smallest_ml: float
    largest_ml: float


def label_facts(label: NDArray[Any], voxel_ml: float) -> dict[int, LabelFacts]:
    """Facts of every value above 0.

    Args:
        label: (I, J, K) whole numbers.
        voxel_ml: volume of one voxel in millilitres.
    """
    inside = label > 0
    values = np.arange(1, int(label.max()) + 1)
    if len(values) > _MOST_DIRECT:
        values = np.unique(label[inside])
    numbered = np.zeros(label.shape, np.int32)
    numbered[inside] = np.searchsorted(values, label[inside]) + 1
    boxes = ndimage.find_objects(numbered)
    return {
        int(values[index]): _facts(numbered[box] == index + 1, voxel_ml)
        for index, box in enumerate(boxes)
        if box is not None
    }


def _facts(mask: NDArray[np.bool_], voxel_ml: float) -> LabelFacts:
    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())[1:]
    voxels = int(sizes.sum())
    return LabelFacts(
        voxels=voxels,
        ml=voxels * voxel_ml,
        pieces=int(count),
        smallest_ml=float(sizes.min()) * voxel_ml,
        largest_ml=float(sizes.max()) * voxel_ml,
    )
