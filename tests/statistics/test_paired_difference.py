"""The paired interval over seeds: the formula, the measured pilot, failed runs and refused tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.statistics.paired import paired_difference

PILOT = {  # mean Dice of five seeds, published with the pilot study
    "scratch": [0.628, 0.718, 0.672, 0.681, 0.706],
    "task": [0.630, 0.731, 0.590, 0.752, 0.783],
    "ssl": [0.643, 0.738, 0.667, 0.710, 0.716],
}


def column(values: list[float]) -> np.ndarray:
    return np.array(values)[:, None]


def random_scores(seeds: int = 6, cases: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(0.8, 0.05, (seeds, cases)), rng.normal(0.78, 0.05, (seeds, cases))


def test_it_is_the_paired_t_test_of_the_seeds_means() -> None:
    arm, baseline = random_scores()
    reference = stats.ttest_rel(arm.mean(axis=1), baseline.mean(axis=1))
    limits = reference.confidence_interval(0.9)
    found = paired_difference(arm, baseline, level=0.9)
    assert (found.low, found.high, found.p) == pytest.approx((limits.low, limits.high, reference.pvalue))
    assert (found.seeds, found.cases, found.degrees_of_freedom) == (6, 9, 5)


@pytest.mark.parametrize(
    ("arm", "difference", "sd", "low", "high", "p"),
    [("task", 0.016, 0.064, -0.064, 0.096, 0.60), ("ssl", 0.014, 0.013, -0.002, 0.029, 0.073)],
)
def test_the_pilots_numbers(arm: str, difference: float, sd: float, low: float, high: float, p: float) -> None:
    found = paired_difference(column(PILOT[arm]), column(PILOT["scratch"]))
    assert (found.difference, found.sd, found.low, found.high) == pytest.approx((difference, sd, low, high), abs=6e-4)
    assert found.p == pytest.approx(p, abs=5e-3)


def test_it_repeats_the_benchmark_transfer_vs_scratch(project: Path) -> None:
    rows = json.loads((project / "benchmarks" / "results" / "transfer_vs_scratch.json").read_text())["comparisons"]
    for row in rows:
        found = paired_difference(column(row["differences"]), column([0.0] * len(row["differences"])))
        assert (found.difference, found.low, found.high) == pytest.approx(
            (row["difference"], row["low"], row["high"]), abs=2e-4
        )
        assert found.p == pytest.approx(row["p"], rel=0.05)


def test_a_failed_run_takes_its_seed_out_of_both_arms_and_is_counted() -> None:
    arm, baseline = random_scores()
    arm[1], baseline[4] = np.nan, np.nan
    kept = [0, 2, 3, 5]
    found, without = paired_difference(arm, baseline), paired_difference(arm[kept], baseline[kept])
    assert (found.low, found.high, found.p) == (without.low, without.high, without.p)
    assert (found.seeds, found.left_out, found.failed_arm, found.failed_baseline) == (4, 2, 1, 1)
    assert np.flatnonzero(np.isnan(found.by_seed)).tolist() == [1, 4]


def test_a_seed_that_fails_in_both_arms_is_left_out_once() -> None:
    arm, baseline = random_scores()
    arm[2] = baseline[2] = np.nan
    found = paired_difference(arm, baseline)
    assert (found.left_out, found.failed_arm, found.failed_baseline) == (1, 1, 1)


def test_all_runs_with_holes_are_named_at_once() -> None:
    arm, baseline = random_scores()
    arm[1, 3] = np.nan
    arm[1, 4] = np.inf
    baseline[5, :8] = np.nan
    with pytest.raises(DataError, match=r"arm, seed row 1: 2 of 9 cases; baseline, seed row 5: 8 of 9"):
        paired_difference(arm, baseline)


def test_infinite_runs_are_no_failed_runs() -> None:
    arm, baseline = random_scores()
    arm[0] = -np.inf
    with pytest.raises(DataError, match="seed row 0: 9 of 9"):
        paired_difference(arm, baseline)


@pytest.mark.parametrize("shape", [(6,), (6, 8), (5, 9), (0, 9), (6, 9, 1)])
def test_unpaired_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"table|do not share"):
        paired_difference(np.full(shape, 0.5), random_scores()[1])


def test_words_are_refused() -> None:
    with pytest.raises(DataError, match="not a table of numbers"):
        paired_difference([["good", "bad"]], [[0.1, 0.2]])


def test_one_complete_seed_has_no_interval() -> None:
    arm, baseline = random_scores(seeds=2)
    arm[0] = np.nan
    with pytest.raises(DataError, match="1 of 2"):
        paired_difference(arm, baseline)


def test_a_seed_that_reaches_nothing_is_found() -> None:
    """Planted defect: the seed does not reach the training, so all runs are one run."""
    arm, baseline = (np.repeat(table[:1], 6, axis=0) for table in random_scores())
    with pytest.raises(DataError, match="the seeds carry no information"):
        paired_difference(arm, baseline)


def test_an_arm_compared_with_itself_is_found() -> None:
    arm, _ = random_scores()
    with pytest.raises(DataError, match="arms differ"):
        paired_difference(arm, arm)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_a_level_is_a_fraction(level: float) -> None:
    with pytest.raises(ConfigError, match="level"):
        paired_difference(*random_scores(), level=level)
