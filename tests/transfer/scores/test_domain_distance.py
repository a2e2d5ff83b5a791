"""MMD against loops and its null; Frechet against closed forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.linalg import sqrtm

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.domain import (
    BANDWIDTHS,
    frechet_of_roots,
    frechet_squared,
    mmd_squared,
    mmd_test,
    root,
)


def _names(source: int, target: int, rows: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(source) // rows, 1000 + np.arange(target) // rows


def _kernel(first: np.ndarray, second: np.ndarray, median: float) -> float:
    distance = np.linalg.norm(first - second)
    return float(np.mean([np.exp(-(distance**2) / (2 * (factor * median) ** 2)) for factor in BANDWIDTHS]))


@pytest.mark.parametrize("rows", [1, 3])
def test_loops(rows: int) -> None:
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((12, 4)), rng.standard_normal((9, 4)) + 0.5
    groups = _names(12, 9, rows)
    everything, names = np.concatenate([source, target]), np.concatenate(groups)
    pairs = [(i, j) for i, j in product(range(21), repeat=2) if names[i] != names[j]]
    median = float(np.median([np.linalg.norm(everything[i] - everything[j]) for i, j in pairs]))

    def mean(first: range, second: range) -> float:
        return float(
            np.mean([_kernel(everything[i], everything[j], median) for i, j in pairs if i in first and j in second])
        )

    a, b = range(12), range(12, 21)
    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert mmd_squared(source, target, *groups) == pytest.approx(expected, abs=1e-10)


def test_the_mean_under_equal_domains_is_zero_in_few_rows_and_many_features() -> None:
    rng = np.random.default_rng(1)
    values = []
    for _ in range(200):
        values.append(mmd_squared(rng.standard_normal((16, 512)), rng.standard_normal((16, 512)), *_names(16, 16)))
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert abs(np.mean(values)) < 0.001  # the biased form has about 0.08 here


def test_p_values_are_even_under_equal_domains_and_small_under_a_shift() -> None:
    rng = np.random.default_rng(2)
    values = []
    for seed in range(120):
        pair = rng.standard_normal((15, 5)), rng.standard_normal((20, 5))
        values.append(mmd_test(*pair, *_names(15, 20), permutations=99, seed=seed).p_value)
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.1) < 0.2
    shifted = mmd_test(
        rng.standard_normal((40, 5)), rng.standard_normal((40, 5)) + 1, *_names(40, 40), permutations=300
    )
    assert shifted.p_value == pytest.approx(1 / 301)
    assert shifted.mmd_squared > 0.05


def test_rows_of_few_patients_are_no_evidence() -> None:
    rng = np.random.default_rng(3)
    by_patient, by_row = [], []
    for seed in range(40):
        source, target = (np.repeat(rng.standard_normal((6, 4)), 8, axis=0) for _ in range(2))
        source, target = (part + 0.1 * rng.standard_normal(part.shape) for part in (source, target))
        by_patient.append(mmd_test(source, target, *_names(48, 48, 8), permutations=99, seed=seed).p_value)
        by_row.append(mmd_test(source, target, *_names(48, 48), permutations=99, seed=seed).p_value)
    assert np.mean(np.array(by_row) <= 0.05) > 0.9  # equal domains, called different
    assert np.mean(np.array(by_patient) <= 0.05) < 0.2


def _closed_form(m1: np.ndarray, s1: np.ndarray, m2: np.ndarray, s2: np.ndarray) -> float:
    return frechet_of_roots(m1, root(s1), m2, root(s2))


def test_frechet_of_gaussians_along_the_axes() -> None:
    one, two = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 2.0])  # standard deviations
    distance = _closed_form(np.zeros(3), np.diag(one**2), np.array([1.0, -1.0, 2.0]), np.diag(two**2))
    assert distance == pytest.approx(6 + ((one - two) ** 2).sum())


def test_frechet_of_any_gaussians_agrees_with_the_matrix_square_root() -> None:
    rng = np.random.default_rng(4)
    for rank in (3, 6):
        factors = rng.standard_normal((2, 6, rank))
        s1, s2 = factors[0] @ factors[0].T, factors[1] @ factors[1].T
        inner = root(s1) @ s2 @ root(s1)
        cross = np.trace(sqrtm(inner + 1e-14 * np.eye(6))).real
        expected = 1.0 + np.trace(s1 + s2) - 2 * cross
        assert _closed_form(np.zeros(6), s1, np.eye(6)[0], s2) == pytest.approx(expected, abs=1e-5)
        assert root(s1) @ root(s1) == pytest.approx(s1, abs=1e-10)


def test_frechet_of_samples_approaches_the_truth_and_is_finite_in_few_rows() -> None:
    rng = np.random.default_rng(5)
    source, target = rng.standard_normal((20000, 3)), 2 * rng.standard_normal((20000, 3)) + [3, 0, 0]
    assert frechet_squared(source, target) == pytest.approx(9 + 3, rel=0.03)
    few = rng.standard_normal((2, 20, 200))
    assert 0 < frechet_squared(few[0], few[1]) < frechet_squared(few[0], few[1] + 1)
    assert frechet_squared(few[0], few[0]) == pytest.approx(0, abs=1e-8)


def test_refusals() -> None:
    rows = np.random.default_rng(6).standard_normal((4, 3))
    with pytest.raises(DataError, match="1 in both, the first b"):
        mmd_squared(rows, rows, ["a", "b", "b", "c"], ["b", "d", "e", "f"])
    with pytest.raises(DataError, match="too few patients"):
        mmd_squared(rows, rows, ["a"] * 4, ["b", "c", "d", "e"])
    with pytest.raises(DataError, match="different width"):
        frechet_squared(rows, rows[:, :2])
    with pytest.raises(DataError, match="target features cannot be scored"):
        mmd_squared(rows, rows * np.nan, *_names(4, 4))
    with pytest.raises(ConfigError, match="needs permutations"):
        mmd_test(rows, rows + 1, *_names(4, 4), permutations=0)
    with pytest.raises(DataError, match="copies of others"):
        mmd_squared(np.ones((4, 3)), np.ones((4, 3)), *_names(4, 4))
