"""Segmentation: do voxels of one class look alike in every case, and do the features differ at all?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.domain import frechet_of_roots, root
from medtl_monai.transfer.scores.inputs import FEATURES_EXPECTED, features_problem
from medtl_monai.transfer.scores.neighbours import unit_rows

MIN_VOXELS = 2  # of a class in a case: below, no covariance
MIN_DISTANCE = 1e-2  # on the unit sphere; nearer voxels count as this far apart, so that one copied pair is not all

Gaussian = tuple[np.ndarray, np.ndarray]  # mean (D,), square root of the covariance (D, D)


@dataclass(frozen=True)
class ClassConsistency:
    """Consistency and variety of dense features of one layer.

    Attributes:
        within: mean 2-Wasserstein distance of one class between two cases; equal weight for every class.
        between: mean 2-Wasserstein distance of two classes in one case; equal weight for every pair of classes.
        variety: see ``feature_variety``; mean over cases.
        classes: the classes compared between cases (in two cases at least).
    """

    within: float
    between: float
    variety: float
    classes: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """``within / between``, without unit. Lower: better."""
        return self.within / self.between

    @property
    def score(self) -> float:
        """``log(variety / ratio)``. Higher: better. Scores of several layers add up."""
        return float(np.log(self.variety / self.ratio))


def feature_variety(features: ArrayLike) -> float:
    """Inverse of the hyperspherical energy: the harmonic mean distance between directions of features.

    Rows are scaled to length 1; the energy is the mean of ``1 / |u - v|`` over all pairs of rows. Two opposite
    directions give 2; uniform directions give 1 in three dimensions and approach sqrt(2) in many; features that have
    all but one direction approach 0. Rows nearer than 0.01 count as 0.01 apart.

    Args:
        features: ``(N, D)``, no row all zero; memory grows with N^2, sample some 2,000 voxels.

    Raises:
        DataError: malformed features or rows all zero.
    """
    array = np.asarray(features, dtype=np.float64)
    problem = features_problem(array)
    if problem is not None:
        raise DataError("no variety of these features", expected=FEATURES_EXPECTED, got=problem)
    return float(1.0 / (1.0 / np.maximum(pdist(unit_rows(array)), MIN_DISTANCE)).mean())


def _case_problem(features: np.ndarray, labels: np.ndarray, width: int) -> str | None:
    problem = features_problem(features)
    if problem is None and features.shape[1] != width:
        problem = f"{features.shape[1]} features, {width} in case 0"
    if problem is None and (labels.shape != (len(features),) or labels.dtype.kind not in "iub"):
        problem = f"labels of shape {labels.shape} and type {labels.dtype} for {len(features)} voxels"
    return problem


def _checked_cases(
    features_per_case: Sequence[ArrayLike], labels_per_case: Sequence[ArrayLike]
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(features_per_case) != len(labels_per_case) or len(features_per_case) < 2:
        raise DataError(
            "cases cannot be compared",
            expected="two cases or more, features and labels of each",
            got=f"features of {len(features_per_case)}, labels of {len(labels_per_case)}",
        )
    cases = [
        (np.asarray(features, dtype=np.float64), np.asarray(labels))
        for features, labels in zip(features_per_case, labels_per_case, strict=True)
    ]
    width = cases[0][0].shape[-1] if cases[0][0].ndim else 0
    problems = [(number, _case_problem(*case, width)) for number, case in enumerate(cases)]
    wrong = [f"case {number}: {problem}" for number, problem in problems if problem]
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(cases)} cases cannot be compared",
            expected="finite features (n, D) and whole-number labels (n,) per case, D the same",
            got="; ".join(wrong),
        )
    return cases


def _gaussians(features: np.ndarray, labels: np.ndarray) -> dict[int, Gaussian]:
    """Mean and root of the sample covariance of every class with two voxels or more."""
    found = {}
    for label in np.unique(labels):
        rows = features[labels == label]
        if len(rows) >= MIN_VOXELS:
            mean = rows.mean(axis=0)
            found[int(label)] = (mean, root((rows - mean).T @ (rows - mean) / (len(rows) - 1)))
    return found


def _distance(first: Gaussian, second: Gaussian) -> float:
    return float(np.sqrt(frechet_of_roots(*first, *second)))


def _mean_of_means(distances: Mapping[object, list[float]]) -> float:
    return float(np.mean([np.mean(values) for values in distances.values()]))


def class_consistency(features_per_case: Sequence[ArrayLike], labels_per_case: Sequence[ArrayLike]) -> ClassConsistency:
    """How alike the voxels of one class are between cases, next to how far apart the classes are.

    After the idea of CC-FV (Yang et al. 2023, MICCAI, arXiv:2307.11958). Every class of every case is taken as a
    Gaussian with sample mean and covariance; distances are 2-Wasserstein in closed form. A class takes part in a case
    with two voxels or more. Distances of equal distributions are above 0 in few voxels: take the same voxels for
    every source.

    Args:
        features_per_case: per case ``(n, D)``, features of sampled voxels of one layer.
        labels_per_case: per case ``(n,)`` their classes, from the label resampled to the layer's own grid.

    Raises:
        DataError: malformed or fewer than two cases (all named), no class in two cases, no case with two classes,
            cases that are copies of one another, classes whose features do not differ, or a voxel all zero.
    """
    cases = _checked_cases(features_per_case, labels_per_case)
    fitted = [_gaussians(*case) for case in cases]
    within: dict[object, list[float]] = {}
    between: dict[object, list[float]] = {}
    for first, second in combinations(fitted, 2):
        for label in sorted(first.keys() & second.keys()):
            within.setdefault(label, []).append(_distance(first[label], second[label]))
    for case in fitted:
        for one, other in combinations(sorted(case), 2):
            between.setdefault((one, other), []).append(_distance(case[one], case[other]))
    if not within or not between:
        raise DataError(
            "no classes to compare",
            expected=f"a class in two cases and two classes in a case, {MIN_VOXELS} voxels each",
            got=f"{len(within)} classes in two cases, {len(between)} pairs of classes in one case",
        )
    result = ClassConsistency(
        _mean_of_means(within),
        _mean_of_means(between),
        float(np.mean([feature_variety(features) for features, _ in cases])),
        tuple(sorted(label for label in within if isinstance(label, int))),
    )
    if result.within == 0 or result.between == 0:
        what = "cases are copies of one another" if result.within == 0 else "features do not tell the classes apart"
        raise DataError(what, expected="distances above 0", got=f"{result.within:g} within, {result.between:g} between")
    return result
