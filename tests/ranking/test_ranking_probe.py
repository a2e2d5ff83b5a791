"""The criterion: unseen patients only, pairs within a fold only, every patient once."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medtl_monai.errors import DataError
from medtl_monai.ranking.probe import (
    OutOfFold,
    accuracy_per_patient,
    auc_within_folds,
    balanced_accuracy,
    folds_for,
    out_of_fold,
)


def found_of(probabilities: np.ndarray, folds: np.ndarray) -> OutOfFold:
    return OutOfFold(probabilities[None], folds[None])


def test_one_fold_gives_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(0)
    second, labels = rng.random(60).round(1), rng.integers(0, 2, 60)  # rounded: ties
    found = found_of(np.stack([1 - second, second], axis=1), np.zeros(60, dtype=int))
    assert auc_within_folds(found, labels) == pytest.approx(roc_auc_score(labels, second))


def test_pairs_of_two_folds_do_not_count() -> None:
    rng = np.random.default_rng(1)
    folds, labels = np.arange(40) % 3, rng.integers(0, 2, 40)
    second = 0.1 * rng.random(40) + 0.3 * folds  # a model of its own scale in every fold
    wins = pairs = 0.0
    for i in range(40):
        for j in range(40):
            if folds[i] == folds[j] and labels[i] == 1 and labels[j] == 0:
                wins, pairs = wins + (second[i] > second[j]) + 0.5 * (second[i] == second[j]), pairs + 1
    found = found_of(np.stack([1 - second, second], axis=1), folds)
    assert auc_within_folds(found, labels) == pytest.approx(wins / pairs)


def test_three_classes_are_one_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    probabilities, labels = rng.dirichlet([1, 1, 1], 50), rng.integers(0, 3, 50)
    wanted = np.mean([roc_auc_score(labels == code, probabilities[:, code]) for code in range(3)])
    assert auc_within_folds(found_of(probabilities, np.zeros(50, dtype=int)), labels) == pytest.approx(wanted)


def test_no_pair_in_any_fold_is_nan() -> None:
    found = found_of(np.eye(2), np.array([0, 1]))
    assert np.isnan(auc_within_folds(found, np.array([0, 1])))


def test_columns_and_back_for_a_choice_of_rows() -> None:
    rng = np.random.default_rng(3)
    found = OutOfFold(rng.random((3, 10, 2)), rng.integers(0, 4, (3, 10)))
    rows = np.array([7, 2, 5])
    back = OutOfFold.of_columns(found.columns()[rows], 2)
    np.testing.assert_array_equal(back.probabilities, found.probabilities[:, rows])
    np.testing.assert_array_equal(back.folds, found.folds[:, rows])


def test_accuracies_by_hand_and_as_scikit_learn_counts() -> None:
    labels = np.array([0, 0, 1, 0, 1, 1, 1])
    groups = np.array(["a", "a", "a", "b", "b", "b", "b"])
    says = np.array([0, 1, 1, 0, 0, 1, 1])
    found = found_of(np.eye(2)[says], np.zeros(7, dtype=int))
    # a: classes 1/2 and 1/1; b: 1/1 and 2/3
    assert accuracy_per_patient(found, labels, groups) == pytest.approx(((0.5 + 1) / 2 + (1 + 2 / 3) / 2) / 2)
    assert balanced_accuracy(found, labels) == pytest.approx(balanced_accuracy_score(labels, says))


def test_features_that_only_name_the_patient_are_worth_nothing() -> None:
    """The planted leak: in a split over rows these features would be perfect."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(16), 5)
    labels = np.repeat(rng.permutation([0, 1] * 8), 5)
    features = rng.normal(size=(16, 12))[groups] + 1e-3 * rng.normal(size=(80, 12))
    found = out_of_fold(features, labels, groups, seed=0, repeats=2)
    assert abs(auc_within_folds(found, labels) - 0.5) < 0.25
    for folds in found.folds:
        assert all(len(np.unique(folds[groups == patient])) == 1 for patient in range(16))


def test_a_clear_signal_is_found_and_the_seed_decides() -> None:
    rng = np.random.default_rng(5)
    labels, groups = np.arange(24) % 2, np.arange(24)
    features = rng.normal(size=(24, 30))
    features[:, :10] += 3.0 * labels[:, None]
    one, again, other = (out_of_fold(features, labels, groups, seed=seed, repeats=1) for seed in (0, 0, 1))
    assert auc_within_folds(one, labels) > 0.95
    np.testing.assert_array_equal(one.probabilities, again.probabilities)
    assert (one.folds != other.folds).any()


def test_folds_leave_two_patients_of_every_class() -> None:
    labels = np.array([0] * 20 + [1] * 5)
    assert folds_for(labels, np.arange(25)) == 2
    assert folds_for(np.arange(40) % 2, np.arange(40)) == 5
    with pytest.raises(DataError, match="too few patients"):
        out_of_fold(
            np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 0, 0, 0, 1]), np.arange(5), seed=0, repeats=1
        )
