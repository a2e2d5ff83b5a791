"""Accuracy of the nearest neighbours, never of the same patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.inputs import Sample, checked


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows ``(N, D)`` scaled to length 1.

    Raises:
        DataError: rows that are all zero and have no direction.
    """
    lengths = np.linalg.norm(features, axis=1)
    empty = int((lengths == 0).sum())
    if empty:
        raise DataError(
            "features without a direction",
            expected="rows that are not all zero",
            got=f"{empty} of {len(features)} rows all zero",
            remedy="centre the features",
        )
    return features / lengths[:, None]


def _check_k(sample: Sample, k: int) -> None:
    most = len(sample.groups) - int(np.bincount(sample.groups).max())
    if not 1 <= k <= most:
        raise ConfigError(
            "the number of neighbours does not fit",
            expected=f"1 to {most}: the rows outside the largest patient",
            got=k,
        )


def knn_accuracy(features: ArrayLike, labels: ArrayLike, groups: ArrayLike, k: int = 5) -> float:
    """Share of rows whose class wins among their ``k`` nearest rows of OTHER patients. Between 0 and 1.

    Cosine similarity of the features as given (features that are all positive profit from centring first). One vote
    per neighbour; equal votes go to the larger sum of similarities.

    Args:
        features: ``(N, D)``, no row all zero.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row.
        k: neighbours.

    Raises:
        DataError: malformed input, or a row all zero.
        ConfigError: fewer than ``k`` rows outside some patient.
    """
    sample = checked(features, labels, groups)
    _check_k(sample, k)
    unit = unit_rows(sample.features)
    similarity = unit @ unit.T
    similarity[sample.groups[:, None] == sample.groups[None, :]] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    # Sums of k cosines differ by 2k at most, which this scale keeps below one vote.
    worth = 1.0 + np.take_along_axis(similarity, nearest, axis=1) / (2 * k + 1)
    votes = np.zeros((len(unit), len(sample.classes)))
    np.add.at(votes, (np.arange(len(unit))[:, None], sample.labels[nearest]), worth)
    return float((votes.argmax(axis=1) == sample.labels).mean())
