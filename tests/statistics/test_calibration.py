"""Temperature, calibration error and operating points against known truth and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from medtl_monai.errors import DataError
from medtl_monai.statistics.calibration import (
    calibration_error,
    fit_temperature,
    log_loss,
    threshold_at_specificity,
)


def _cases(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn with exactly the probabilities that they state."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(count, classes))
    truth = np.array([random.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return logits, truth


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_factor_by_which_logits_were_blown_up_comes_back(factor: float, classes: int) -> None:
    logits, truth = _cases(5000, classes, seed=1)
    assert fit_temperature(logits * factor, truth) == pytest.approx(factor, rel=0.06)


def test_it_is_the_minimum_of_likelihood_and_prior() -> None:
    logits, truth = _cases(40, 3, seed=2)
    grid = np.exp(np.linspace(np.log(0.1), np.log(10), 20001))
    costs = [len(truth) * log_loss(logits / t, truth) + (np.log(t) / 0.5) ** 2 / 2 for t in grid]
    assert fit_temperature(logits, truth) == pytest.approx(grid[int(np.argmin(costs))], rel=1e-3)


def test_a_few_cases_without_error_do_not_make_it_sure() -> None:
    logits = np.array([[2.0, 0.0], [1.5, 0.0], [0.0, 1.0]])
    found = fit_temperature(logits, [0, 0, 1])
    assert 0.5 < found < 1.0
    assert log_loss(logits / 0.1, [0, 0, 1]) < log_loss(logits / found, [0, 0, 1])  # likelihood alone would go there


def test_log_loss_is_the_formula() -> None:
    logits, truth = _cases(50, 4, seed=3)
    expected = -np.mean([np.log(row[klass]) for row, klass in zip(softmax(logits, axis=1), truth, strict=True)])
    assert log_loss(logits, truth) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    # four at 0.9 of which three are right, two at 0.6 of which none is: (4 * 0.15 + 2 * 0.6) / 6
    assert calibration_error(probabilities, [0, 0, 0, 1, 0, 0]) == pytest.approx(0.3)


def test_calibration_error_is_small_for_stated_probabilities_and_large_for_blown_up_ones() -> None:
    logits, truth = _cases(20000, 2, seed=4)
    assert calibration_error(softmax(logits, axis=1), truth) < 0.015
    assert calibration_error(softmax(4 * logits, axis=1), truth) > 0.08


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 1.0])
def test_threshold_is_the_smallest_that_keeps_the_specificity(specificity: float) -> None:
    random = np.random.default_rng(5)
    scores, truth = np.round(random.random(60), 2), random.random(60) < 0.4
    found = threshold_at_specificity(scores, truth, specificity)
    negatives = scores[~truth]
    assert (negatives < found).mean() >= specificity - 1e-12
    lower = [value for value in np.unique(scores) if value < found]
    assert all((negatives < value).mean() < specificity for value in lower)


def test_refusals() -> None:
    with pytest.raises(DataError, match="one row per case"):
        fit_temperature(np.zeros((0, 2)), [])
    with pytest.raises(DataError, match="not finite"):
        fit_temperature([[np.nan, 0.0]], [0])
    with pytest.raises(DataError, match="no such class"):
        log_loss([[0.0, 0.0]], [2])
    with pytest.raises(DataError, match="without the finding"):
        threshold_at_specificity([0.2], [True], 0.9)
