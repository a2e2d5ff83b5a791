"""AUC and proportions with 95 % intervals, where several cases may be of one patient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medtl_monai.errors import DataError

Z = float(stats.norm.ppf(0.975))
Estimate = dict[str, float | int | None]


def proportion_interval(hits: Sequence[bool], patients: Sequence[str]) -> Estimate:
    """Share of hits with a Wilson interval; cases of one patient count for less, as they resemble each other.

    The number of cases is divided by the design effect: the variance between patients over that of independent cases,
    1 at least. If all or none are hits, that cannot be estimated, and each patient counts as one case.

    Args:
        hits: whether each case is one.
        patients: whom each case is of.

    Returns:
        ``value``, ``low``, ``high`` (None without cases), ``cases`` and ``patients``.
    """
    _require_equal_lengths(hits, patients)
    values, groups = np.asarray(hits, dtype=float), _groups(patients)
    count, people = len(values), int(groups.max(initial=-1)) + 1
    if not count:
        return {"value": None, "low": None, "high": None, "cases": 0, "patients": 0}
    share = float(values.mean())
    effective = float(people) if share in (0.0, 1.0) else count / _design_effect(values - share, groups, people)
    centre = (share + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    half = Z * math.sqrt(share * (1 - share) / effective + (Z / (2 * effective)) ** 2) / (1 + Z**2 / effective)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return {"value": share, "low": low, "high": high, "cases": count, "patients": people}


def _design_effect(residuals: NDArray[np.float64], groups: NDArray[np.intp], people: int) -> float:
    if people < 2:
        return float(len(residuals))  # one patient is one observation
    sums = np.bincount(groups, residuals, people)
    between = people / (people - 1) * float((sums**2).sum())
    independent = len(residuals) / (len(residuals) - 1) * float((residuals**2).sum())
    return max(1.0, between / independent)


def auc_interval(scores: Sequence[float], truth: Sequence[bool], patients: Sequence[str]) -> Estimate:
    """Area under the ROC curve with an interval over patients.

    The variance is that of Obuchowski (Biometrics 53, 567 (1997)), which is DeLong's where every case is a patient of
    its own; the interval is symmetric on the logit scale. At an AUC of 0 or 1, and with a single patient in a class,
    there is no estimate of it and the bounds are None.

    Args:
        scores: a number per case, larger where the finding is more likely.
        truth: whether each case has the finding.
        patients: whom each case is of.

    Returns:
        ``value`` (None if a class is absent), ``low``, ``high``, ``cases`` and ``patients``.
    """
    _require_equal_lengths(scores, truth)
    _require_equal_lengths(scores, patients)
    values, positive, groups = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool), _groups(patients)
    result: Estimate = {"value": None, "low": None, "high": None}
    result |= {"cases": len(values), "patients": int(groups.max(initial=-1)) + 1}
    if positive.all() or not positive.any():
        return result
    # 1 where a positive case scores above a negative one, a half where they tie: (positives, negatives)
    wins = (np.sign(values[positive][:, None] - values[~positive][None, :]) + 1) / 2
    result["value"] = area = float(wins.mean())
    variance = _auc_variance(wins - area, groups[positive], groups[~positive])
    if variance is not None and 0 < area < 1:
        logit, half = math.log(area / (1 - area)), Z * math.sqrt(variance) / (area * (1 - area))
        result["low"], result["high"] = (float(1 / (1 + math.exp(-(logit + sign * half)))) for sign in (-1, 1))
    return result


def _auc_variance(excess: NDArray[np.float64], ill: NDArray[np.intp], well: NDArray[np.intp]) -> float | None:
    people = max(ill.max(), well.max()) + 1
    with_ill, with_well, everyone = len(set(ill)), len(set(well)), len({*ill, *well})
    if min(with_ill, with_well) < 2:
        return None
    of_ill = np.bincount(ill, excess.mean(axis=1), people)
    of_well = np.bincount(well, excess.mean(axis=0), people)
    positives, negatives = excess.shape
    terms = (
        with_ill / (with_ill - 1) * float((of_ill**2).sum()) / positives**2,
        with_well / (with_well - 1) * float((of_well**2).sum()) / negatives**2,
        2 * everyone / (everyone - 1) * float((of_ill * of_well).sum()) / (positives * negatives),
    )
    return max(0.0, sum(terms))


def _groups(patients: Sequence[str]) -> NDArray[np.intp]:
    return np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]


def _require_equal_lengths(first: Sequence[object], second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise DataError("one value per case is needed", expected=len(first), got=len(second))
