"""LogME against the Gaussian log density itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import helmert
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.logme import MAX_ITERATIONS, fit_evidence, logme

SIZES = [(60, 512), (300, 512), (120, 16), (40, 40)]


def _problem(rows: int, width: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a decaying spectrum, and classes that lie ``distance`` apart in five of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    features = rng.standard_normal((rows, width)) * np.exp(-4 * np.arange(width) / width)
    features[:, :5] += distance * (labels[:, None] - 0.5) / np.sqrt(5)
    return features, labels


def _density(features: np.ndarray, target: np.ndarray, a: float, b: float) -> float:
    covariance = np.eye(len(target)) / b + features @ features.T / a
    return float(multivariate_normal.logpdf(target, mean=np.zeros(len(target)), cov=covariance))


@pytest.mark.parametrize(("rows", "width"), SIZES)
def test_the_evidence_is_the_gaussian_log_density_at_the_fitted_a_and_b(rows: int, width: int) -> None:
    features, labels = _problem(rows, width, 2.0)
    centred, target = features - features.mean(axis=0), labels.astype(float)
    fitted = fit_evidence(centred, target)
    assert fitted.iterations <= MAX_ITERATIONS
    assert fitted.log_evidence / rows == pytest.approx(_density(centred, target, fitted.a, fitted.b) / rows, abs=1e-7)


@pytest.mark.parametrize(("rows", "width"), SIZES)
@pytest.mark.parametrize("distance", [0.0, 2.0])
def test_logme_is_the_mean_over_classes_of_the_density_after_taking_out_the_mean(
    rows: int, width: int, distance: float
) -> None:
    features, labels = _problem(rows, width, distance)
    labels = labels + (np.arange(rows) % 4 == 3)  # three unequal classes
    contrasts = helmert(rows)  # (N - 1, N): an orthonormal basis of everything but the mean
    reduced = contrasts @ features
    expected = []
    for value in range(3):
        target = contrasts @ (labels == value).astype(float)
        fitted = fit_evidence(reduced, target)
        expected.append(_density(reduced, target, fitted.a, fitted.b) / rows)
    assert logme(features, labels) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize(("rows", "width"), [(60, 512), (300, 512)])
def test_without_the_term_of_the_empty_directions_the_score_is_far_off(rows: int, width: int) -> None:
    features, labels = _problem(rows, width, 2.0)
    contrasts = helmert(rows)
    centred, target = contrasts @ features, contrasts @ labels.astype(float)
    fitted = fit_evidence(centred, target)
    a, b, k = fitted.a, fitted.b, rows - 1
    sigma = np.linalg.svd(centred, compute_uv=False) ** 2
    weights = np.linalg.solve(centred.T @ centred + a / b * np.eye(width), centred.T @ target)
    widespread = 0.5 * (
        width * np.log(a)
        + k * np.log(b)
        - np.log(a + b * sigma).sum()
        - b * ((target - centred @ weights) ** 2).sum()
        - a * (weights**2).sum()
        - k * np.log(2 * np.pi)
    )
    truth = _density(centred, target, a, b)
    excess = (widespread - truth) / rows
    assert excess > 1.0
    assert excess == pytest.approx((width - k) / (2 * rows) * np.log(a), abs=1e-6)
    assert fitted.log_evidence == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "width", "distance"), [(60, 512, 1.0), (60, 512, 4.0), (120, 16, 1.0), (90, 40, 3.0)])
def test_a_and_b_maximise_the_evidence(rows: int, width: int, distance: float, seed: int) -> None:
    features, labels = _problem(rows, width, distance, seed)
    contrasts = helmert(rows)
    reduced, target = contrasts @ features, contrasts @ labels.astype(float)
    values, vectors = np.linalg.eigh(reduced @ reduced.T)
    squares = (vectors.T @ target) ** 2

    def loss(logs: np.ndarray) -> float:
        variances = np.exp(-logs[1]) + np.clip(values, 0, None) * np.exp(-logs[0])
        return 0.5 * float((np.log(2 * np.pi * variances) + squares / variances).sum()) / rows

    fitted = fit_evidence(reduced, target)
    scale = np.log(values.mean())
    starts = [(scale, 1.0), (scale - 3, 3.0), (scale + 3, 1.0), (np.log(fitted.a), np.log(fitted.b))]
    best = min(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 2000}).fun for start in starts)
    assert fitted.log_evidence / rows == pytest.approx(-best, abs=1e-4)
    assert fitted.log_evidence / rows <= -best + 1e-6


def test_more_distance_between_classes_scores_higher_in_few_rows_too() -> None:
    scores = [logme(*_problem(60, 512, distance)) for distance in (0.0, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.1


def test_with_uncentred_indicators_few_rows_would_score_alike() -> None:
    scores = []
    for distance in (0.0, 2.0):
        features, labels = _problem(60, 512, distance)
        scores.append(fit_evidence(features - features.mean(axis=0), labels.astype(float)).log_evidence / 60)
    assert abs(scores[1] - scores[0]) < 1e-3


def test_units_offset_rotation_and_class_names_do_not_matter() -> None:
    features, labels = _problem(80, 30, 2.0)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))[0]
    score = logme(features, labels)
    assert logme(1e5 * features @ rotation + 7.0, labels * 40 - 3) == pytest.approx(score, abs=1e-9)


def test_labels_that_are_a_feature_score_finite_and_above_noisy_ones() -> None:
    features, labels = _problem(60, 10, 2.0)
    exact = np.concatenate([features, labels[:, None]], axis=1)
    assert np.isfinite(logme(exact, labels))
    assert logme(exact, labels) > logme(features, labels) + 1


def test_bad_input_is_named_at_once() -> None:
    features = np.ones((4, 3))
    features[1, 1] = np.nan
    with pytest.raises(DataError, match=r"1 of 4 rows with NaN.*labels of type float64"):
        logme(features, np.array([0.0, 1.0, 0.0, 1.0]))
    with pytest.raises(DataError, match="1 class"):
        logme(np.eye(3), [1, 1, 1])
    with pytest.raises(DataError, match="do not vary"):
        logme(np.ones((4, 3)), [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        logme(np.ones((4, 3)), [0, 1, 0])
