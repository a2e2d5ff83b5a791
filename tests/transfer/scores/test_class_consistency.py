"""Class consistency and variety of dense features against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import beta

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.consistency import class_consistency, feature_variety


def _exact(mean: np.ndarray, deviations: np.ndarray, rows: int = 60, seed: int = 0) -> np.ndarray:
    """Rows whose sample mean and sample covariance are exactly these."""
    raw = np.random.default_rng(seed).standard_normal((rows, len(mean)))
    orthogonal = np.linalg.qr(raw - raw.mean(axis=0))[0] * np.sqrt(rows - 1)
    return orthogonal * deviations + mean


def _case(shift: float, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes 10 apart; class 1 moved by ``shift`` and widened by ``spread``."""
    one = _exact(np.array([5.0, 0, 0]), np.array([1.0, 2.0, 0.5]), seed=seed)
    two = _exact(np.array([-5.0 + shift, 0, 0]), np.array([1.0, 2.0, 0.5]) * spread, seed=seed + 50)
    return np.concatenate([one, two]), np.repeat([0, 1], 60)


def test_distances_are_the_closed_form() -> None:
    features, labels = zip(_case(0, 1, 1), _case(3, 2, 2), strict=True)
    result = class_consistency(features, labels)
    # Class 0 is at distance 0; class 1 at sqrt(3^2 + sum of (2 sd - sd)^2), sd = 1, 2, 0.5. Within cases: 10 and
    # sqrt(7^2 + the same sum).
    spread = 1 + 4 + 0.25
    assert result.within == pytest.approx(np.sqrt(9 + spread) / 2, rel=1e-6)
    assert result.between == pytest.approx((10 + np.sqrt(49 + spread)) / 2, rel=1e-9)
    assert result.ratio == pytest.approx(result.within / result.between)
    assert result.classes == (0, 1)


def test_every_pair_of_cases_counts_and_classes_weigh_equally() -> None:
    shifts = (0.0, 1.0, 3.0)
    features, labels = map(list, zip(*(_case(shift, 1, n) for n, shift in enumerate(shifts)), strict=True))
    result = class_consistency(features, labels)
    assert result.within == pytest.approx((0 + (1 + 3 + 2) / 3) / 2, rel=1e-5)
    features[2], labels[2] = features[2][:60], labels[2][:60]  # class 1 not in the last case
    assert class_consistency(features, labels).within == pytest.approx((0 + 1) / 2, rel=1e-5)


def test_units_and_rotation_do_not_matter_and_drifting_classes_score_lower() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]

    def score(shift: float, scale: float = 1.0, turn: np.ndarray = rotation) -> float:
        features, labels = zip(_case(0, 1, 1), _case(shift, 1.1, 2), strict=True)
        return class_consistency([scale * rows @ turn for rows in features], labels).score

    assert score(1, 1e3) == pytest.approx(score(1, 1, np.eye(3)), abs=1e-6)
    assert score(0.5) > score(1) > score(3)


def test_variety_of_opposite_points_and_of_a_simplex() -> None:
    assert feature_variety([[0.0, 3.0], [0.0, -0.1]]) == pytest.approx(2.0)
    for width in (2, 5, 20):
        corners = np.eye(width + 1) - 1 / (width + 1)  # regular simplex of width + 1 corners, any two equally far apart
        assert feature_variety(corners) == pytest.approx(np.sqrt(2 * (width + 1) / width))


@pytest.mark.parametrize("width", [3, 8, 64])
def test_variety_of_uniform_directions_is_the_integral(width: int) -> None:
    # (1 - cosine) / 2 of two uniform directions follows Beta((D-1)/2, (D-1)/2), and the distance is 2 sqrt of it.
    half = (width - 1) / 2
    expected = 2 * beta(half, half) / beta(half - 0.5, half)
    features = np.random.default_rng(0).standard_normal((1500, width))
    assert feature_variety(features) == pytest.approx(expected, rel=0.02)
    if width == 3:
        assert expected == pytest.approx(1.0)


def test_collapsed_features_have_no_variety_and_a_copied_pair_is_not_all() -> None:
    rng = np.random.default_rng(1)
    assert feature_variety(np.ones((50, 8)) + 1e-9 * rng.standard_normal((50, 8))) == pytest.approx(0.01)
    spread = rng.standard_normal((200, 8))
    assert feature_variety(np.concatenate([spread, spread[:1]])) == pytest.approx(feature_variety(spread), rel=0.02)


def test_refusals_name_all_bad_cases() -> None:
    good = _case(0, 1, 1)
    broken = good[0].copy()
    broken[3, 1] = np.inf
    features = [good[0], broken, good[0][:, :2]]
    with pytest.raises(DataError, match=r"2 of 3 cases.*case 1: 1 of 120 rows.*case 2: 2 features, 3 in case 0"):
        class_consistency(features, [good[1]] * 3)
    with pytest.raises(DataError, match="two cases or more"):
        class_consistency([good[0]], [good[1]])
    with pytest.raises(DataError, match="no classes to compare"):
        class_consistency([good[0], good[0]], [np.zeros(120, int), np.ones(120, int)])
    with pytest.raises(DataError, match="copies of one another"):
        class_consistency([good[0], good[0]], [good[1], good[1]])
    with pytest.raises(DataError, match="all zero"):
        feature_variety(np.zeros((3, 2)))
