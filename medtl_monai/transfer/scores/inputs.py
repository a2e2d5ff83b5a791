"""The one check of features, labels and patients that every score makes before it computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import DataError

FEATURES_EXPECTED = "finite features (N, D), N >= 2, D >= 1"


@dataclass(frozen=True)
class Sample:
    """Checked input.

    Attributes:
        features: ``(N, D)`` float64.
        labels: ``(N,)`` class numbers 0 to C - 1, in the order of ``classes``.
        classes: the C label values as given, sorted.
        groups: ``(N,)`` patient numbers 0 to P - 1; one patient per row where none were given.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    groups: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Rows per class, ``(C,)``."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return int(self.groups.max()) + 1


def features_problem(features: np.ndarray) -> str | None:
    """What is wrong with a feature matrix, or None."""
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        return f"features of shape {features.shape}"
    broken = int((~np.isfinite(features).all(axis=1)).sum())
    return f"{broken} of {len(features)} rows with NaN or infinity" if broken else None


def checked_features(features: ArrayLike, name: str = "features") -> np.ndarray:
    """Features ``(N, D)`` as float64.

    Raises:
        DataError: not two-dimensional, fewer than two rows, or not finite.
    """
    array = np.asarray(features, dtype=np.float64)
    problem = features_problem(array)
    if problem is not None:
        raise DataError(f"{name} cannot be scored", expected=FEATURES_EXPECTED, got=problem)
    return array


def _labels_problem(labels: np.ndarray, rows: int) -> str | None:
    if labels.shape != (rows,):
        return f"labels of shape {labels.shape} for {rows} rows"
    if labels.dtype.kind not in "iub":
        return f"labels of type {labels.dtype}"
    return f"{len(np.unique(labels))} class" if len(np.unique(labels)) < 2 else None


def checked(features: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None) -> Sample:
    """Features, labels and patients as the scores use them; all faults are named at once.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row, numbers or names; None for one patient per row.

    Raises:
        DataError: shapes that do not agree, values that are not finite, labels that are not whole numbers, one class.
    """
    array = np.asarray(features, dtype=np.float64)
    given = np.asarray(labels)
    rows = len(array) if array.ndim else 0
    patients = np.arange(rows) if groups is None else np.asarray(groups)
    problems = [problem for problem in (features_problem(array), _labels_problem(given, rows)) if problem]
    if patients.shape != (rows,):
        problems.append(f"groups of shape {patients.shape} for {rows} rows")
    if problems:
        raise DataError(
            "these features cannot be scored",
            expected=f"{FEATURES_EXPECTED}, whole-number labels (N,) of two classes or more, groups (N,)",
            got="; ".join(problems),
        )
    classes, codes = np.unique(given, return_inverse=True)
    return Sample(array, codes.reshape(-1), classes, np.unique(patients, return_inverse=True)[1].reshape(-1))
