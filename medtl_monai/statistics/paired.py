"""The difference between two arms, with an interval that speaks about new seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from medtl_monai.errors import DataError
from medtl_monai.statistics.scores import ROUNDING, Floats, Pairs, check_fraction, pair_scores

Population = Literal["new_seeds", "new_seeds_and_cases"]


@dataclass(frozen=True)
class Interval:
    """A mean difference (arm minus baseline, in units of the score) and what is known about it.

    Attributes:
        difference: mean over seeds and cases.
        low, high: limits of the two-sided interval.
        p: two-sided p value of "no difference".
        level: nominal coverage of the interval.
        population: what the interval speaks about: ``new_seeds`` on these very test cases, or
            ``new_seeds_and_cases``.
        standard_error: of ``difference``, for that population.
        degrees_of_freedom: of the t distribution used.
        sd: standard deviation between the seeds of the seeds' mean differences.
        case_error: part of ``standard_error`` that more seeds would not remove; 0 for ``new_seeds``.
        seeds: seeds in the interval, both runs finished.
        cases: test cases.
        failed_arm, failed_baseline: runs that failed.
        left_out: seeds that are not in the interval because a run failed.
        by_seed: mean difference of every seed, in the order given; NaN where left out.
    """

    difference: float
    low: float
    high: float
    p: float
    level: float
    population: Population
    standard_error: float
    degrees_of_freedom: float
    sd: float
    case_error: float
    seeds: int
    cases: int
    failed_arm: int
    failed_baseline: int
    left_out: int
    by_seed: tuple[float, ...]


def paired_difference(arm: ArrayLike, baseline: ArrayLike, level: float = 0.95) -> Interval:
    """Difference ``arm - baseline`` with a t interval over the seeds.

    A seed is one draw of the labelled cases, of the order of the batches and of the initial head, shared by both
    arms. Scores are averaged over the test cases within each seed; the seeds are the sample.

    The interval speaks about NEW SEEDS scored on THESE test cases. It does not speak about other patients: for them
    use `hierarchical_interval`. Its coverage is exact if the seeds' differences are normal; where single runs
    collapse it is about 90 % instead of 95 % (`benchmarks/study_statistics.py`).

    Args:
        arm: (seeds, cases), scores; a failed run is a row of NaN.
        baseline: (seeds, cases), same seeds and cases.
        level: nominal coverage.

    Raises:
        DataError: see `pair_scores`; also if all seeds have the same difference, so that they carry no information.
        ConfigError: the level is not between 0 and 1.
    """
    check_fraction(level, "level")
    pairs = pair_scores(arm, baseline)
    means = pairs.differences.mean(axis=1)
    sd = spread_of_seeds(pairs, means)
    return make_interval(
        pairs,
        level,
        population="new_seeds",
        standard_error=sd / float(np.sqrt(means.size)),
        degrees_of_freedom=float(means.size - 1),
        sd=sd,
        case_error=0.0,
    )


def spread_of_seeds(pairs: Pairs, means: Floats) -> float:
    """Standard deviation of the seeds' mean differences. Raises DataError if they are all the same."""
    sd = float(means.std(ddof=1))
    if sd <= ROUNDING * pairs.scale:
        raise DataError(
            "the seeds carry no information: the difference between the arms is the same for each of them",
            expected="runs that depend on their seed",
            got=f"{means.size} seeds with the difference {means[0]:.6g}",
            remedy="check that the seed reaches the draw of cases and the training, and that the arms differ",
        )
    return sd


def make_interval(
    pairs: Pairs,
    level: float,
    *,
    population: Population,
    standard_error: float,
    degrees_of_freedom: float,
    sd: float,
    case_error: float,
) -> Interval:
    """t interval around the mean of all differences."""
    difference = float(pairs.differences.mean())
    half = standard_error * float(special.stdtrit(degrees_of_freedom, 0.5 + level / 2))
    by_seed = np.full(pairs.complete.size, np.nan)
    by_seed[pairs.complete] = pairs.differences.mean(axis=1)
    return Interval(
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=2 * float(special.stdtr(degrees_of_freedom, -abs(difference) / standard_error)),
        level=level,
        population=population,
        standard_error=standard_error,
        degrees_of_freedom=degrees_of_freedom,
        sd=sd,
        case_error=case_error,
        seeds=pairs.differences.shape[0],
        cases=pairs.differences.shape[1],
        failed_arm=pairs.failed_arm,
        failed_baseline=pairs.failed_baseline,
        left_out=int((~pairs.complete).sum()),
        by_seed=tuple(by_seed.tolist()),
    )
