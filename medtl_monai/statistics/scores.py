"""The scores of two arms, run under the same seeds on the same test cases, checked and paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtl_monai.errors import ConfigError, DataError

Floats = NDArray[np.float64]
ROUNDING = 64 * np.finfo(np.float64).eps  # differences below this, relative to the scores, are rounding


@dataclass(frozen=True)
class Pairs:
    """Paired scores.

    Attributes:
        differences: (complete seeds, cases), arm minus baseline, without NaN.
        complete: (seeds,) of bool, False where a run of the seed failed.
        failed_arm: how many runs of the arm failed.
        failed_baseline: how many runs of the baseline failed.
        scale: largest magnitude of a score, against which rounding is judged.
    """

    differences: Floats
    complete: NDArray[np.bool_]
    failed_arm: int
    failed_baseline: int
    scale: float


def pair_scores(arm: ArrayLike, baseline: ArrayLike) -> Pairs:
    """Pair the scores of two arms; seeds of which a run failed in either arm are left out of both.

    Args:
        arm: (seeds, cases), one score per run and test case; a failed run is a row of NaN.
        baseline: the same of the arm to compare with, same seeds and cases in the same order.

    Raises:
        DataError: shapes differ or are not (seeds, cases), scores are infinite, a run has NaN for some cases only
            (all such runs are listed), or fewer than two seeds are complete in both arms.
    """
    scores = {"arm": float_table(arm, "scores of the arm"), "baseline": float_table(baseline, "scores of the baseline")}
    shapes = {name: table.shape for name, table in scores.items()}
    if shapes["arm"] != shapes["baseline"]:
        raise DataError(
            "the arms do not share their seeds and test cases",
            expected=f"(seeds, cases) = {shapes['baseline']} as in the baseline",
            got=str(shapes["arm"]),
            remedy="give both arms one row per seed and one column per test case, failed runs as rows of NaN",
        )
    _refuse_bad_runs(scores)
    failed = {name: np.isnan(table).all(axis=1) for name, table in scores.items()}
    complete = np.asarray(~(failed["arm"] | failed["baseline"]), dtype=np.bool_)
    if complete.sum() < 2:
        raise DataError(
            "too few seeds for an interval",
            expected="at least 2 seeds with both runs finished",
            got=f"{complete.sum()} of {complete.size}",
            remedy="run more seeds; 5 is a poor and 10 a fair number",
        )
    kept = {name: table[complete] for name, table in scores.items()}
    return Pairs(
        differences=kept["arm"] - kept["baseline"],
        complete=complete,
        failed_arm=int(failed["arm"].sum()),
        failed_baseline=int(failed["baseline"].sum()),
        scale=float(max(np.abs(table).max() for table in kept.values())),
    )


def _refuse_bad_runs(scores: dict[str, Floats]) -> None:
    """A case without a score is no failed run: to drop it would change the set of test cases from run to run."""
    bad = [
        f"{name}, seed row {row}: {count} of {table.shape[1]} cases"
        for name, table in scores.items()
        for row, count in enumerate(np.isinf(table).sum(axis=1) + np.isnan(table).sum(axis=1))
        if count and not np.isnan(table[row]).all()
    ]
    if bad:
        raise DataError(
            "scores are missing or infinite for some cases of a run",
            expected="a finite score for every case, or NaN for all cases of a failed run",
            got="; ".join(bad),
            remedy="score an empty or missing prediction with the metric's worst value, or drop the case in all runs",
        )


def float_table(values: ArrayLike, what: str) -> Floats:
    """Two-dimensional, non-empty array of float64. Raises DataError if it is not."""
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {what} are not a table of numbers", got=str(error)) from error
    if table.ndim != 2 or 0 in table.shape:
        raise DataError(f"the {what} are not a table", expected="a non-empty array of two axes", got=str(table.shape))
    return table


def check_fraction(value: float, what: str) -> float:
    """A number between 0 and 1, both excluded. Raises ConfigError if it is not."""
    if not 0.0 < value < 1.0:
        raise ConfigError(f"the {what} makes no sense", expected="a number between 0 and 1", got=value)
    return float(value)
