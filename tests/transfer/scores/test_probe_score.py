"""Linear probe: what it finds, what it must not find, and folds that keep patients whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.probe import grouped_folds, probe_accuracy, probe_auc


def test_known_distance_gives_the_known_accuracy_and_area() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    features = rng.standard_normal((400, 3)) + 2 * np.outer(labels, [1, 0, 0])
    groups = np.arange(400) // 2 // 2  # two rows of each class per patient
    assert probe_accuracy(features, labels, groups, 0) == pytest.approx(norm.cdf(1.0), abs=0.05)
    assert probe_auc(features, labels, groups, 0) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.04)


def test_features_that_only_name_the_patient_do_not_help() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 4)
    labels = rng.permutation(np.arange(40) % 2)[groups]
    features = rng.standard_normal((40, 50))[groups]  # one vector, copied to every row of its patient
    assert probe_accuracy(features, labels, groups, 0) < 0.7
    assert probe_auc(features, labels, groups, 0) < 0.75
    assert probe_accuracy(features, labels, np.arange(160), 0) > 0.95  # what ignoring the patients would report


def test_three_classes_units_and_repeatability() -> None:
    rng = np.random.default_rng(2)
    labels, groups = np.arange(60) % 3, np.arange(60) // 3
    features = rng.standard_normal((60, 4)) + 3 * np.eye(4)[labels]
    area = probe_auc(features, labels, groups, 3)
    assert area > 0.9
    assert probe_auc(features * [1e3, 1e-3, 1, 50] + 9, labels, groups, 3) == pytest.approx(area, abs=1e-3)
    assert probe_auc(features, labels, groups, 3) == area


def test_folds_keep_patients_whole_and_hold_every_class() -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 25, 200)
    labels = (rng.random(25) < 0.25).astype(int)[groups]
    parts = grouped_folds(labels, groups, 5, seed=1)
    assert len(parts) >= 2
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(200))
    for train, test in parts:
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == set(labels[test]) == {0, 1}


def test_too_few_patients_are_refused() -> None:
    features = np.random.default_rng(4).standard_normal((40, 3))
    labels = (np.arange(40) < 8).astype(int)
    with pytest.raises(DataError, match="a class that occurs in 1 patients"):
        probe_accuracy(features, labels, np.arange(40) // 8, 0)
