"""TransRate against determinants and the mutual information of Gaussians, and the weights of unequal classes."""

from __future__ import annotations

import numpy as np
import pytest

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.transrate import coding_rate, transrate


def _rate(rows: np.ndarray, eps: float) -> float:
    return 0.5 * np.linalg.slogdet(np.eye(rows.shape[1]) + rows.T @ rows / (len(rows) * eps))[1]


@pytest.mark.parametrize(("rows", "width"), [(200, 7), (30, 50)])
@pytest.mark.parametrize("eps", [1e-4, 0.3])
def test_it_is_the_difference_of_log_determinants(rows: int, width: int, eps: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(rows) % 5 // 2)
    features = rng.standard_normal((rows, width)) * 3 + labels[:, None]
    scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0).mean())
    parts = [scaled[labels == value] for value in range(3)]
    within = sum(len(part) / rows * _rate(part - part.mean(axis=0), eps) for part in parts)
    assert coding_rate(scaled, eps) == pytest.approx(_rate(scaled, eps), rel=1e-9)
    assert transrate(features, labels, eps) == pytest.approx(_rate(scaled, eps) - within, rel=1e-7, abs=1e-8)


def test_one_feature_by_hand() -> None:
    # Values +-1 +- 0.1: variance 1.01 in all, 0.01 in a class; half the log of their ratio as eps goes to 0.
    features = np.array([[1.1], [0.9], [-1.1], [-0.9]])
    assert transrate(features, [0, 0, 1, 1], 1e-9) == pytest.approx(0.5 * np.log(101), abs=1e-5)


def test_uninformative_features_at_nine_to_one_are_near_zero_where_equal_weights_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(1000) < 100).astype(int)
    weighted, equal = [], []
    for _ in range(20):
        features = rng.standard_normal((1000, 8))
        weighted.append(transrate(features, labels))
        scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0).mean())
        parts = [scaled[labels == value] for value in (0, 1)]
        rates = [_rate(part - part.mean(axis=0), 1e-4) for part in parts]
        equal.append(_rate(scaled, 1e-4) - np.mean(rates))
    assert 0 <= np.mean(weighted) < 0.04
    assert np.mean(equal) > 3 * np.mean(weighted)


def test_two_equal_classes_far_apart_score_high_though_their_second_moments_agree() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(600) % 2
    noise = rng.standard_normal((600, 4))
    apart = noise + 6 * np.outer(labels, [1, 0, 0, 0])
    common = (apart - apart.mean(axis=0)) / np.sqrt(apart.var(axis=0).mean())
    blind = _rate(common, 1e-4) - 0.5 * sum(_rate(common[labels == value], 1e-4) for value in (0, 1))
    assert blind < 0.02  # classes around the common mean
    assert transrate(noise, labels) < 0.02
    assert transrate(apart, labels) > 1.0


def test_never_negative_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    for rows, width in [(20, 3), (20, 40), (90, 10)]:
        features, labels = rng.standard_normal((rows, width)), rng.permutation(np.arange(rows) % 3)
        score = transrate(features, labels)
        assert score >= 0
        assert transrate(1e4 * features - 5, labels) == pytest.approx(score, rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="eps > 0"):
        transrate(np.eye(4), [0, 1, 0, 1], 0.0)
    with pytest.raises(DataError, match="do not vary"):
        transrate(np.ones((4, 3)), [0, 1, 0, 1])
