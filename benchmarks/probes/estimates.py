"""Paired differences with honest intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from medtl_monai.statistics.holm import holm as adjusted_p_values
from medtl_monai.statistics.paired import paired_difference

LEVEL = 0.95
Estimate = dict[str, float]


def t_interval(values: Sequence[float]) -> Estimate:
    """Mean of independent values (one per seed) with its 95 % t interval; ``p`` is for a true mean of 0.

    Raises:
        DataError: fewer than two values, or all the same.
    """
    found = paired_difference(np.asarray(values)[:, None], np.zeros((len(values), 1)), LEVEL)
    return {"mean": found.difference, "low": found.low, "high": found.high, "p": found.p}


def corrected_interval(values: Sequence[float], seeds: int, test_per_train: float) -> Estimate:
    """Mean over the folds of a repeated cross-validation, with the corrected resampled t (Nadeau & Bengio 2003).

    The folds share most of their training cases, so the variance of the mean is not ``s^2 / J`` but
    ``(1 / J + n_test / n_train) s^2``. The degrees of freedom are those of the seeds, the outer level, and not of the
    folds, as in Bouckaert & Frank 2004; this widens the interval a little.

    Args:
        values: one value per fold of every seed, J in all.
        seeds: number of repetitions.
        test_per_train: test cases per training case, 0.25 for five folds.
    """
    if len(values) < 2 or seeds < 2:
        raise ValueError(f"an interval needs at least two values and two seeds, got {len(values)} and {seeds}")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    error = math.sqrt(1 / len(values) + test_per_train) * spread
    half = float(stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)) * error
    p = float(mean == 0)
    if error > 0:
        p = float(2 * stats.t.sf(abs(mean) / error, seeds - 1))
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values of one family of comparisons, by name (:func:`medtl_monai.statistics.holm.holm`)."""
    return dict(zip(p_values, adjusted_p_values(list(p_values.values())), strict=True))


def pair_wins(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For every (positive, negative) pair of cases: 1 where the positive scores higher, 0.5 at a tie, else 0.

    Its mean is the AUC. ``labels`` and ``scores`` have shape ``(N,)``; the result ``(positives, negatives)``.
    """
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def bootstrap_auc(labels: np.ndarray, wins: np.ndarray, rounds: int = 2000, seed: int = 0) -> Estimate:
    """AUC, or a difference of AUCs, with a percentile interval over resampled seeds and test cases.

    All seeds are judged on the same cases, so a round draws the cases once for all of its seeds: drawing them anew for
    each seed would average the sampling of cases away. With one seed it is the ordinary bootstrap over cases.

    Args:
        labels: 0 or 1 per test case.
        wins: ``(seeds, positives, negatives)``: :func:`pair_wins`, or the difference of two.
    """
    rng = np.random.default_rng(seed)
    cases = _drawn(labels.size, rounds, rng)
    positive, negative = cases[:, labels == 1], cases[:, labels == 0]
    per_seed = np.stack([np.einsum("rp,rp->r", positive, negative @ table.T) for table in wins], axis=1)
    per_seed /= (positive.sum(1) * negative.sum(1))[:, None]
    values = (per_seed * _drawn(len(wins), rounds, rng)).sum(1) / len(wins)
    return {"mean": float(wins.mean()), **_limits(values)}


def bootstrap_mean(table: np.ndarray, rounds: int = 2000, seed: int = 0) -> Estimate:
    """Mean of a table ``(seeds, cases)`` with a percentile interval over resampled rows and resampled columns."""
    rng = np.random.default_rng(seed)
    cases, seeds = _drawn(table.shape[1], rounds, rng), _drawn(table.shape[0], rounds, rng)
    values = np.einsum("rs,sc,rc->r", seeds, table, cases, optimize=True) / table.size
    return {"mean": float(table.mean()), **_limits(values)}


def _drawn(items: int, rounds: int, rng: np.random.Generator) -> np.ndarray:
    """How often each item is in each of the resamples, ``(rounds, items)``."""
    return rng.multinomial(items, np.full(items, 1 / items), size=rounds).astype(float)


def _limits(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    return {"low": float(low), "high": float(high)}


def rounded(estimate: Mapping[str, float], digits: int = 4) -> Estimate:
    """The estimate with rounded numbers, p-values with three significant digits."""
    return {
        name: float(f"{value:.3g}") if name.startswith("p") else round(value, digits)
        for name, value in estimate.items()
    }
