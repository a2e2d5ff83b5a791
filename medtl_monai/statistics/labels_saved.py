"""How many labelled cases a network trained from scratch needs to do as well as one that was transferred."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.statistics.scores import ROUNDING, Floats, check_fraction, float_table


@dataclass(frozen=True)
class LabelsSaved:
    """Numbers of labelled cases. 0 means "fewer than the smallest n tried", infinity "more than the largest".

    Attributes:
        n: labelled cases with transfer.
        equivalent: labelled cases from scratch that give the same score, interpolated.
        low, high: limits of its interval.
        smallest, largest: smallest and largest n tried; nothing is known beyond them.
        level: nominal coverage.
        seeds: seeds used.
        left_out: seeds left out because a run failed.
    """

    n: float
    equivalent: float
    low: float
    high: float
    smallest: float
    largest: float
    level: float
    seeds: int
    left_out: int


def labels_saved(
    n_values: ArrayLike, scratch_curve: ArrayLike, transfer_curve: ArrayLike, level: float = 0.95
) -> list[LabelsSaved]:
    """For every n with transfer, the number of labelled cases from scratch with the same mean score.

    The estimate inverts the mean learning curve from scratch, made monotone (isotonic regression) and interpolated
    linearly in log n; where it is flat the smallest such n is taken, so that a saving is never overstated. The
    interval holds every n at which the paired t test over the seeds finds no difference between transfer at its n and
    scratch, interpolated in log n for each seed. (A percentile bootstrap over the seeds covers 84 % with 5 seeds and
    89 % with 10 where this covers 95 %, see `benchmarks/study_statistics.py`.) Each interval stands alone; they are
    not corrected as a family.

    Like `paired_difference` it speaks about new seeds on the same test cases.

    Args:
        n_values: (levels,), numbers of labelled cases tried, ascending, at least 2.
        scratch_curve: (seeds, levels), mean test score of each run, higher is better (turn the sign of a distance);
            a failed run is NaN, and a seed with any failed run is left out.
        transfer_curve: the same with transfer, same seeds and n.
        level: nominal coverage.

    Raises:
        DataError: shapes do not agree, scores are infinite, or fewer than two seeds are complete.
        ConfigError: ``n_values`` are not ascending positive numbers, or the level is not between 0 and 1.
    """
    check_fraction(level, "level")
    n = _check_n(n_values)
    scratch, transfer, left_out = _complete(scratch_curve, transfer_curve, n.size)
    limit = float(special.stdtrit(scratch.shape[0] - 1, 0.5 + level / 2))
    result = []
    for column in range(n.size):
        point = equivalent_n(n, scratch.mean(axis=0), float(transfer[:, column].mean()))
        low, high = _limits(n, transfer[:, [column]] - scratch, limit)
        result.append(
            LabelsSaved(
                n=float(n[column]),
                equivalent=point,
                low=min(low, point),
                high=max(high, point),
                smallest=float(n[0]),
                largest=float(n[-1]),
                level=level,
                seeds=scratch.shape[0],
                left_out=left_out,
            )
        )
    return result


def equivalent_n(n: Floats, curve: Floats, score: float) -> float:
    """Smallest n at which a learning curve reaches a score; 0 below the curve, infinity above it.

    Args:
        n: (levels,), ascending.
        curve: (levels,), mean scores; made monotone by isotonic regression, then linear in log n.
        score: score to reach.
    """
    monotone = optimize.isotonic_regression(curve).x
    rounding = ROUNDING * max(float(np.abs(monotone).max()), abs(score))  # or a flat stretch is passed by an ulp
    if score - rounding > monotone[-1]:
        return math.inf
    if score + rounding < monotone[0]:
        return 0.0
    right = int(np.searchsorted(monotone, score - rounding, side="left"))
    if right == 0:
        return float(n[0])
    part = min((score - monotone[right - 1]) / (monotone[right] - monotone[right - 1]), 1.0)
    logs = np.log(n)
    return float(np.exp(logs[right - 1] + part * (logs[right] - logs[right - 1])))


def _limits(n: Floats, lead: Floats, limit: float) -> tuple[float, float]:
    """Smallest and largest n that cannot be told from the equivalent one.

    Args:
        n: (levels,), ascending.
        lead: (seeds, levels), transfer at its n minus scratch at each n.
        limit: critical value of t.
    """
    accepted = _accepted(n, lead, limit)
    means = lead.mean(axis=0)
    halves = limit * lead.std(axis=0, ddof=1) / np.sqrt(lead.shape[0])
    low = 0.0 if means[0] <= halves[0] else min(accepted, default=math.inf)
    high = math.inf if means[-1] >= -halves[-1] else max(accepted, default=0.0)
    return low, high


def _accepted(n: Floats, lead: Floats, limit: float) -> list[float]:
    """Ends of the stretches of n on which the test does not reject.

    Between two levels the lead is ``left + u * step`` for each seed, u in [0, 1] along log n. Its mean squared minus
    the squared half width is a parabola in u; where that is not positive, the test does not reject.
    """
    factor = limit**2 / (lead.shape[0] * (lead.shape[0] - 1))
    logs = np.log(n)
    found: list[float] = []
    for left in range(n.size - 1):
        start, step = lead[:, left], lead[:, left + 1] - lead[:, left]
        centred = np.stack([start - start.mean(), step - step.mean()])
        spread = factor * (centred @ centred.T)
        parabola = [
            float(step.mean() ** 2 - spread[1, 1]),
            float(2 * (start.mean() * step.mean() - spread[0, 1])),
            float(start.mean() ** 2 - spread[0, 0]),
        ]
        ends = [float(root.real) for root in np.roots(parabola) if abs(root.imag) < 1e-9 and 0 <= root.real <= 1]
        ends += [end for end in (0.0, 1.0) if np.polyval(parabola, end) <= 0]
        found += [float(np.exp(logs[left] + end * (logs[left + 1] - logs[left]))) for end in ends]
    return found


def _check_n(n_values: ArrayLike) -> Floats:
    n = np.asarray(n_values, dtype=np.float64)
    if n.ndim != 1 or n.size < 2 or not (np.isfinite(n).all() and n[0] > 0 and (np.diff(n) > 0).all()):
        raise ConfigError(
            "the numbers of labelled cases make no learning curve",
            expected="at least 2 ascending positive numbers",
            got=n.tolist(),
        )
    return n


def _complete(scratch_curve: ArrayLike, transfer_curve: ArrayLike, levels: int) -> tuple[Floats, Floats, int]:
    scratch = float_table(scratch_curve, "scores from scratch")
    transfer = float_table(transfer_curve, "scores with transfer")
    if scratch.shape != transfer.shape or scratch.shape[1] != levels:
        raise DataError(
            "the learning curves do not fit together",
            expected=f"(seeds, {levels}) for both, the same seeds",
            got=f"scratch {scratch.shape}, transfer {transfer.shape}",
        )
    if np.isinf(scratch).any() or np.isinf(transfer).any():
        raise DataError("scores are infinite", expected="finite scores, NaN for failed runs")
    complete = ~(np.isnan(scratch) | np.isnan(transfer)).any(axis=1)
    if complete.sum() < 2:
        raise DataError(
            "too few seeds for an interval",
            expected="at least 2 seeds whose runs all finished",
            got=f"{complete.sum()} of {complete.size}",
            remedy="run more seeds, or leave out the n at which runs fail",
        )
    return scratch[complete], transfer[complete], int((~complete).sum())
