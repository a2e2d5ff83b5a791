"""The interval for new seeds and new cases: analysis of variance by least squares, symmetry, limits."""

from __future__ import annotations

import numpy as np
import pytest

from medtl_monai.errors import DataError
from medtl_monai.statistics.hierarchical import hierarchical_interval, mean_squares
from medtl_monai.statistics.paired import paired_difference


def table(seeds: int, cases: int, seed_sd: float, case_sd: float, rest_sd: float, draw: int = 0) -> np.ndarray:
    rng = np.random.default_rng(draw)
    return (
        seed_sd * rng.normal(size=(seeds, 1))
        + case_sd * rng.normal(size=(1, cases))
        + rest_sd * rng.normal(size=(seeds, cases))
    )


def residual(values: np.ndarray, *columns: np.ndarray) -> float:
    design = np.concatenate([np.ones((values.size, 1)), *columns], axis=1)
    fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    return float(((values.ravel() - fitted) ** 2).sum())


def test_mean_squares_are_drops_in_the_residual_of_least_squares() -> None:
    values = table(4, 7, 0.3, 0.2, 0.1)
    seed = np.repeat(np.eye(4), 7, axis=0)
    case = np.tile(np.eye(7), (4, 1))
    both, found = residual(values, seed, case), mean_squares(values)
    assert found.seeds == pytest.approx((residual(values, case) - both) / 3)
    assert found.cases == pytest.approx((residual(values, seed) - both) / 6)
    assert found.rest == pytest.approx(both / 18)


def test_the_variance_is_unbiased_where_nothing_is_cut_off() -> None:
    seeds, cases, spreads = 6, 8, (0.3, 0.3, 0.1)
    squares = [mean_squares(table(seeds, cases, *spreads, draw)) for draw in range(1500)]
    found = np.mean([item.seeds + item.cases - item.rest for item in squares]) / (seeds * cases)
    assert found == pytest.approx(0.09 / seeds + 0.09 / cases + 0.01 / (seeds * cases), rel=0.06)


def test_seeds_and_cases_have_the_same_standing() -> None:
    values = table(5, 12, 0.1, 0.3, 0.2)
    one, other = (hierarchical_interval(item, np.zeros_like(item)) for item in (values, values.T))
    assert (one.low, one.high, one.p) == pytest.approx((other.low, other.high, other.p))


def test_it_is_never_surer_than_either_source_alone() -> None:
    for draw in range(300):
        values = table(3 + draw % 4, 12, 0.02 * (draw % 3), 0.02, 0.03, draw)
        zero = np.zeros_like(values)
        found = hierarchical_interval(values, zero)
        seeds, cases = paired_difference(values, zero), paired_difference(values.T, zero.T)
        assert found.low <= min(seeds.low, cases.low) + 1e-12
        assert found.high >= max(seeds.high, cases.high) - 1e-12
        assert found.p >= 0.05 or max(seeds.p, cases.p) < 0.05


def test_without_differences_between_cases_it_comes_to_the_seeds_interval() -> None:
    values = table(6, 40, 1.0, 0.0, 0.01)
    zero = np.zeros_like(values)
    seeds, both = paired_difference(values, zero), hierarchical_interval(values, zero)
    assert (both.low, both.high) == pytest.approx((seeds.low, seeds.high), rel=1e-3)


def test_more_seeds_do_not_remove_the_part_of_the_cases() -> None:
    values = table(4000, 9, 0.1, 0.5, 0.1)
    found = hierarchical_interval(values, np.zeros_like(values))
    of_cases = values.mean(axis=0).std(ddof=1) / 3
    assert found.case_error == pytest.approx(of_cases, rel=1e-3)
    assert found.standard_error == pytest.approx(of_cases, rel=1e-2)
    assert found.degrees_of_freedom == pytest.approx(8, rel=1e-2)


def test_one_case_says_nothing_about_others() -> None:
    with pytest.raises(DataError, match="one test case"):
        hierarchical_interval([[0.1], [0.2], [0.4]], [[0.0], [0.0], [0.0]])


def test_failed_runs_are_left_out_and_counted() -> None:
    values = table(6, 9, 0.1, 0.1, 0.1)
    broken = values.copy()
    broken[2] = np.nan
    kept = np.delete(values, 2, axis=0)
    found = hierarchical_interval(broken, np.zeros_like(broken))
    without = hierarchical_interval(kept, np.zeros_like(kept))
    assert (found.low, found.high) == (without.low, without.high)
    assert (found.left_out, found.failed_arm, found.failed_baseline) == (1, 1, 0)


def test_a_seed_that_reaches_nothing_is_found() -> None:
    same = np.repeat(table(1, 9, 0.1, 0.1, 0.1), 5, axis=0)
    with pytest.raises(DataError, match="the seeds carry no information"):
        hierarchical_interval(same, np.zeros_like(same))
