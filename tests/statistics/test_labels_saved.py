"""Labels saved: learning curves of which the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.statistics.labels_saved import equivalent_n, labels_saved

N = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
STRAIGHT = 0.6 + 0.05 * np.log2(N)


def curves(curve: np.ndarray, gain: float, noise: float, seeds: int = 5, draw: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(draw)
    shared = 0.02 * rng.normal(size=(seeds, 1))
    scratch = curve + shared + noise * rng.normal(size=(seeds, N.size))
    return scratch, curve + gain + shared + noise * rng.normal(size=(seeds, N.size))


def test_a_gain_of_one_doubling_halves_the_labels() -> None:
    rows = labels_saved(N, *curves(STRAIGHT, gain=0.05, noise=1e-9))
    assert [row.equivalent for row in rows[:3]] == pytest.approx([4, 8, 16], rel=1e-4)
    assert rows[4].equivalent == math.inf
    assert [(row.n, row.smallest, row.largest) for row in rows] == [(n, 2, 32) for n in N]
    assert all(row.low == pytest.approx(row.equivalent, rel=1e-4) for row in rows[:3])


def test_between_two_levels_it_is_linear_in_the_logarithm() -> None:
    row = labels_saved(N, *curves(STRAIGHT, gain=0.02, noise=1e-9))[1]
    assert row.equivalent == pytest.approx(4 * 2**0.4, rel=1e-5)


def test_transfer_that_hurts_saves_nothing() -> None:
    rows = labels_saved(N, *curves(STRAIGHT, gain=-0.05, noise=1e-6))
    assert (rows[0].equivalent, rows[0].low, rows[0].high) == (0, 0, 0)
    assert [row.equivalent for row in rows[1:]] == pytest.approx([2, 4, 8, 16], rel=1e-3)
    assert all(row.high < row.n for row in rows)


def test_above_the_whole_curve_the_answer_is_more_than_the_largest() -> None:
    row = labels_saved(N, *curves(STRAIGHT, gain=0.5, noise=1e-6))[0]
    assert (row.equivalent, row.low, row.high) == (math.inf, math.inf, math.inf)


def test_where_the_curve_is_flat_the_smallest_n_counts() -> None:
    assert equivalent_n(N, np.array([0.6, 0.7, 0.7, 0.7, 0.8]), 0.7) == 4
    assert equivalent_n(N, np.array([0.7, 0.7, 0.7, 0.7, 0.8]), 0.7) == 2


def test_a_dip_is_smoothed_as_isotonic_regression_does() -> None:
    dip = np.array([0.60, 0.70, 0.66, 0.80, 0.82])  # 4 and 8 are pooled to .68
    assert equivalent_n(N, dip, 0.68) == pytest.approx(4)
    assert equivalent_n(N, dip, 0.74) == pytest.approx(8 * 2**0.5)


def test_the_limits_are_where_the_t_test_begins_to_reject() -> None:
    scratch, transfer = curves(STRAIGHT, gain=0.04, noise=0.01, seeds=6)
    row = labels_saved(N, scratch, transfer)[1]
    assert 2 < row.low < row.equivalent < row.high < 32
    for limit, outside in ((row.low, 0.99), (row.high, 1.01)):
        p_values = [
            stats.ttest_rel(transfer[:, 1], [np.interp(np.log(n), np.log(N), seed) for seed in scratch]).pvalue
            for n in (limit, limit * outside, limit / outside)
        ]
        assert p_values[0] == pytest.approx(0.05, abs=1e-6)
        assert p_values[1] < 0.05 < p_values[2]


@pytest.mark.parametrize(("seeds", "gain"), [(5, 0.03), (10, 0.03), (5, 0.0)])
def test_the_interval_covers(seeds: int, gain: float) -> None:
    truth, repetitions = 4 * 2 ** (gain / 0.05), 500
    rows = [labels_saved(N, *curves(STRAIGHT, gain, 0.02, seeds, draw))[1] for draw in range(repetitions)]
    covered = np.mean([row.low <= truth <= row.high for row in rows])
    assert covered == pytest.approx(0.955, abs=3 * math.sqrt(0.05 * 0.95 / repetitions))


def test_where_nothing_is_saved_a_saving_is_seldom_claimed() -> None:
    rows = [labels_saved(N, *curves(STRAIGHT, 0.0, 0.02, 5, draw))[2] for draw in range(500)]
    assert np.mean([row.low > row.n for row in rows]) <= 0.025 + 3 * math.sqrt(0.025 / 500)


def test_seeds_with_failed_runs_are_left_out_and_counted() -> None:
    scratch, transfer = curves(STRAIGHT, gain=0.03, noise=0.01, seeds=6)
    scratch[4, 0] = np.nan
    found = labels_saved(N, scratch, transfer)
    without = labels_saved(N, np.delete(scratch, 4, axis=0), np.delete(transfer, 4, axis=0))
    assert [(row.low, row.high) for row in found] == [(row.low, row.high) for row in without]
    assert (found[0].seeds, found[0].left_out) == (5, 1)


def test_too_few_seeds() -> None:
    scratch, transfer = curves(STRAIGHT, gain=0.03, noise=0.01, seeds=2)
    transfer[0, 3] = np.nan
    with pytest.raises(DataError, match="1 of 2"):
        labels_saved(N, scratch, transfer)


def test_infinite_scores() -> None:
    scratch, transfer = curves(STRAIGHT, gain=0.03, noise=0.01)
    transfer[0, 3] = np.inf
    with pytest.raises(DataError, match="infinite"):
        labels_saved(N, scratch, transfer)


def test_curves_of_other_seeds_or_levels() -> None:
    scratch, transfer = curves(STRAIGHT, gain=0.03, noise=0.01)
    with pytest.raises(DataError, match="do not fit together"):
        labels_saved(N, scratch, transfer[1:])
    with pytest.raises(DataError, match="do not fit together"):
        labels_saved(N[:4], scratch, transfer)


@pytest.mark.parametrize("n", [[4], [4, 2], [0, 4], [2, 2], [2, math.inf], [[2, 4]]])
def test_n_that_make_no_curve(n: list) -> None:
    with pytest.raises(ConfigError, match="no learning curve"):
        labels_saved(n, [[0.5, 0.6]] * 3, [[0.5, 0.6]] * 3)
