"""How far a score would move with other patients, and whether the best source is really ahead of the second."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.inputs import Sample, checked

KEPT = 0.8  # share of the patients in every draw
MIN_PATIENTS = 5
REDRAWS = 200  # draws tried for one that has every class
CONFIDENCE = 0.95

Score = Callable[..., float]


class Interval(NamedTuple):
    """A score on all patients and its 95 % confidence interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ResampledScore:
    """A score on all patients and on draws of patients.

    Attributes:
        estimate: the score on all patients.
        values: ``(R,)`` the score on each draw.
        patients: how many there are.
        kept: how many are in a draw.
        draws: fingerprint of the draws; two scores with the same one are paired.
    """

    estimate: float
    values: np.ndarray
    patients: int
    kept: int
    draws: str


def _draws(sample: Sample, repetitions: int, seed: int) -> np.ndarray:
    """Patients in each draw, ``(R, P)`` true or false; every draw has every class."""
    holds = np.zeros((sample.patients, len(sample.classes)), dtype=bool)
    holds[sample.groups, sample.labels] = True
    kept = round(KEPT * sample.patients)
    rng = np.random.default_rng(seed)
    found = np.zeros((repetitions, sample.patients), dtype=bool)
    for row in found:
        for _ in range(REDRAWS):
            drawn = rng.choice(sample.patients, kept, replace=False)
            if holds[drawn].any(axis=0).all():
                row[drawn] = True
                break
        else:
            raise DataError(
                "a class has too few patients to draw from",
                expected="every class in most draws of patients",
                got=f"{int(holds.sum(axis=0).min())} of {sample.patients} patients with the rarest class",
            )
    return found


def _called(score: Score, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    if "groups" in inspect.signature(score).parameters:
        return float(score(features, labels, groups=groups))
    return float(score(features, labels))


def resampled_score(
    score: Score, features: ArrayLike, labels: ArrayLike, groups: ArrayLike, repetitions: int, seed: int
) -> ResampledScore:
    """A score on all patients, and on draws of four fifths of them, WITHOUT replacement.

    A bootstrap with replacement would hold rows twice: copies are each other's nearest neighbours, lie on both sides
    of a split, and lower the rank that LogME and covariances count on. Leaving out a fifth of the patients has none of
    this. A draw without some class is drawn again.

    Args:
        score: called as ``score(features, labels)``, and with ``groups=`` where it has that parameter; fix other
            parameters with ``functools.partial``.
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row, five patients at least.
        repetitions: draws, two at least; 200 give the interval's width to about 5 %.
        seed: of the draws; the same labels, groups, repetitions and seed give the same draws for every source.

    Raises:
        DataError: malformed input, too few patients, or a score that is not finite.
        ConfigError: fewer than two repetitions.
    """
    if repetitions < 2:
        raise ConfigError("too few draws for an interval", expected="2 or more", got=repetitions)
    sample = checked(features, labels, groups)
    if sample.patients < MIN_PATIENTS:
        raise DataError("too few patients for an interval", expected=f"{MIN_PATIENTS} or more", got=sample.patients)
    given = sample.classes[sample.labels]
    draws = _draws(sample, repetitions, seed)
    values = []
    for chosen in (np.ones(sample.patients, dtype=bool), *draws):
        rows = chosen[sample.groups]
        values.append(_called(score, sample.features[rows], given[rows], sample.groups[rows]))
    broken = int((~np.isfinite(values)).sum())
    if broken:
        raise DataError("the score is not finite", expected="finite on every draw", got=f"{broken} of {len(values)}")
    mark = hashlib.sha256(np.packbits(draws).tobytes() + sample.groups.tobytes() + sample.labels.tobytes()).hexdigest()
    return ResampledScore(values[0], np.array(values[1:]), sample.patients, round(KEPT * sample.patients), mark)


def _interval(estimate: float, values: np.ndarray, patients: int, kept: int) -> Interval:
    # Delete-d jackknife (Shao & Wu 1989): draws without replacement share patients, and vary less than new patients.
    error = float(np.std(values, ddof=1)) * np.sqrt(kept / (patients - kept))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, patients - 1)) * error
    return Interval(estimate, estimate - reach, estimate + reach)


def bootstrap_over_patients(
    score: Score, features: ArrayLike, labels: ArrayLike, groups: ArrayLike, repetitions: int, seed: int
) -> Interval:
    """A score and its 95 % confidence interval over patients.

    The spread over draws without replacement (``resampled_score``, with the same arguments and errors), scaled by the
    delete-d jackknife, times Student's t. It tells what other patients would change, not what another training seed
    would. The interval is symmetric and may reach beyond a bounded score's limits. It is about right for
    smooth scores and up to half too wide for nearest neighbours.
    """
    result = resampled_score(score, features, labels, groups, repetitions, seed)
    return _interval(result.estimate, result.values, result.patients, result.kept)
