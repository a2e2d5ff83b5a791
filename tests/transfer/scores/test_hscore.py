"""H-score against inverses written out, canonical correlations and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.hscore import h_score


def _problem(rows: int, width: int, distance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.arange(rows) % 3 + (np.arange(rows) % 7 == 0))
    features = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width))
    return features + distance * rng.standard_normal((4, width))[labels], labels


def _between(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    replaced = np.stack([features[labels == label].mean(axis=0) for label in labels])
    return np.cov(replaced.T, bias=True)


def test_plain_score_is_the_trace_written_out() -> None:
    features, labels = _problem(400, 6)
    expected = np.trace(np.linalg.inv(np.cov(features.T, bias=True)) @ _between(features, labels))
    assert h_score(features, labels, covariance="empirical") == pytest.approx(expected, rel=1e-10)


def test_plain_score_is_the_sum_of_squared_canonical_correlations() -> None:
    features, labels = _problem(300, 5)
    indicator = np.eye(4)[labels][:, :3]
    bases = [np.linalg.qr(part - part.mean(axis=0))[0] for part in (features, indicator)]
    correlations = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    assert h_score(features, labels, covariance="empirical") == pytest.approx((correlations**2).sum(), rel=1e-10)


@pytest.mark.parametrize(("rows", "width"), [(40, 100), (200, 20)])
def test_shrunk_score_is_the_formula_with_scikit_learns_covariance(rows: int, width: int) -> None:
    features, labels = _problem(rows, width)
    fitted = LedoitWolf().fit(features)
    assert 0 < fitted.shrinkage_ < 1
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ _between(features, labels))
    score = h_score(features, labels)
    assert score == pytest.approx(expected, rel=1e-8)
    assert 0 <= score <= 3


def test_shrinkage_tells_information_from_noise_where_the_pseudo_inverse_cannot() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    noise = rng.standard_normal((60, 300))
    signal = noise.copy()
    signal[:, :4] += 4 * labels[:, None]
    naive = [np.trace(np.linalg.pinv(np.cov(f.T, bias=True)) @ _between(f, labels)) for f in (noise, signal)]
    assert naive == pytest.approx([1.0, 1.0], abs=1e-6)  # its upper limit, whatever the features
    assert h_score(signal, labels) > 1.3 * h_score(noise, labels)


def test_linear_maps_leave_the_plain_score_alone_and_the_best_is_the_number_of_classes_less_one() -> None:
    features, labels = _problem(300, 5)
    mapped = features @ np.random.default_rng(1).standard_normal((5, 5)) + 3
    plain = h_score(features, labels, covariance="empirical")
    assert h_score(mapped, labels, covariance="empirical") == pytest.approx(plain, rel=1e-8)
    told = np.eye(4)[labels][:, :3] + 1e-4 * np.random.default_rng(2).standard_normal((300, 3))
    assert h_score(told, labels, covariance="empirical") == pytest.approx(3.0, abs=1e-3)


def test_refusals() -> None:
    features, labels = _problem(40, 60)
    with pytest.raises(DataError, match="too few rows"):
        h_score(features, labels, covariance="empirical")
    doubled, labels = _problem(100, 4)
    with pytest.raises(DataError, match="cannot be inverted"):
        h_score(np.concatenate([doubled, doubled], axis=1), labels, covariance="empirical")
    with pytest.raises(ConfigError, match="unknown covariance"):
        h_score(doubled, labels, covariance="oas")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="do not vary"):
        h_score(np.ones((4, 3)), [0, 1, 0, 1])
