"""Intervals over patients against the textbook's standard error, and which lead is real."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.bootstrap import bootstrap_over_patients, resampled_score
from medtl_monai.transfer.scores.neighbours import knn_accuracy


def _mean(features: np.ndarray, labels: np.ndarray) -> float:
    return float(features.mean())


def _cohort(patients: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One number per patient, the same in all of the patient's rows."""
    values = np.random.default_rng(seed).standard_normal(patients)
    groups = np.repeat(np.arange(patients), rows)
    return values[groups][:, None], groups % 2, groups


@pytest.mark.parametrize("rows", [1, 10])
def test_the_interval_of_a_mean_is_students_whatever_the_rows_per_patient(rows: int) -> None:
    features, labels, groups = _cohort(30, rows, 0)
    result = bootstrap_over_patients(_mean, features, labels, groups, 2000, seed=1)
    error = features[::rows].std(ddof=1) / np.sqrt(30)
    reach = stats.t.ppf(0.975, 29) * error
    assert result.estimate == pytest.approx(features.mean())
    assert result.low == pytest.approx(features.mean() - reach, abs=0.06 * reach)
    assert result.high == pytest.approx(features.mean() + reach, abs=0.06 * reach)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    hits = 0
    for seed in range(200):
        low, high = bootstrap_over_patients(_mean, *_cohort(20, 3, seed), 60, seed=seed)[1:]
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_no_row_is_ever_drawn_twice_and_patients_stay_whole() -> None:
    groups = np.repeat(np.arange(12), 3)
    features = np.arange(36.0)[:, None]
    seen = []

    def look(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
        seen.append((features[:, 0], groups))
        return 0.0

    resampled_score(look, features, groups % 2, groups, 20, seed=0)
    assert len(seen) == 21
    for rows, patients in seen[1:]:
        assert len(set(rows)) == len(rows) == 30
        assert set(np.bincount(patients)) <= {0, 3}


def test_copies_of_rows_would_make_noise_look_informative() -> None:
    rng = np.random.default_rng(0)
    features, labels, groups = rng.standard_normal((60, 30)), np.arange(60) % 2, np.arange(60)
    drawn = rng.integers(0, 60, 60)  # a bootstrap with replacement, each draw counted as a patient of its own
    assert (
        knn_accuracy(features[drawn], labels[drawn], np.arange(60), k=1)
        > 0.6 + knn_accuracy(features, labels, groups, k=1) * 0.2
    )
    score = partial(knn_accuracy, k=1)
    result = bootstrap_over_patients(score, features, labels, groups, 60, seed=0)
    assert result.low < 0.5 < result.high


def test_refusals() -> None:
    features, labels, groups = _cohort(10, 2, 0)
    with pytest.raises(ConfigError, match="too few draws"):
        bootstrap_over_patients(_mean, features, labels, groups, 1, seed=0)
    with pytest.raises(DataError, match="too few patients"):
        bootstrap_over_patients(_mean, features[:8], labels[:8], groups[:8], 10, seed=0)
    with pytest.raises(DataError, match="11 of 11"):
        bootstrap_over_patients(lambda features, labels: float("nan"), features, labels, groups, 10, seed=0)
