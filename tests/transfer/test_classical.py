"""Classical classifiers: chance on random labels, no leak between patients, and the defects of common tutorials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.classical import cross_validate, features_logistic, features_svm, fit_classifier

KINDS = ["svm", "svm_rbf", "logistic"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: threads only cost."""
    with threadpool_limits(1):
        yield


def noise(patients: int = 60, rows: int = 1, width: int = 100, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Features that know the patient (if there are several rows) and nothing of the label."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), rows)
    labels = rng.permutation(np.arange(patients) % 2)[groups]
    features = rng.normal(size=(patients, width))[groups] + 0.01 * rng.normal(size=(patients * rows, width))
    return features, labels, groups


def signal(patients: int = 40, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    labels = np.arange(patients) % classes
    return rng.normal(size=(patients, 10)) + 4.0 * np.eye(10)[labels], labels, np.arange(patients)


@pytest.mark.parametrize("kind", KINDS)
def test_t0_random_labels_stay_at_chance(kind: str) -> None:
    """The tutorial fits and scores on one split: perfect on random labels. Chance +- 4 standard deviations here."""
    features, labels, groups = noise()
    scaled = StandardScaler().fit_transform(features)
    assert SVC(kernel="linear").fit(scaled, labels).score(scaled, labels) == 1.0
    result = cross_validate(features, labels, groups, kind, repeats=2)
    assert abs(result.accuracy - 0.5) < 4 * np.sqrt(0.25 / 60)
    assert abs(result.auc - 0.5) < 4 * np.sqrt(0.25 / 60)


def test_repeated_rows_of_one_patient_do_not_leak() -> None:
    """Split by row, every held-out row has its twin in training: near perfect on random labels."""
    features, labels, groups = noise(patients=40, rows=3)
    by_row = cross_val_score(SVC(), features, labels, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    assert by_row.mean() > 0.95
    result = cross_validate(features, labels, groups, "svm_rbf", repeats=2)
    assert abs(result.accuracy - 0.5) < 4 * np.sqrt(0.25 / 40)


def test_one_scan_under_two_patients_is_refused() -> None:
    features, labels, groups = noise()
    features[7], features[20] = features[3], features[5]
    with pytest.raises(DataError, match=r"rows 3 = 7, 5 = 20"):
        cross_validate(features, labels, groups)
    groups[7], groups[20] = groups[3], groups[5]
    labels[7], labels[20] = labels[3], labels[5]
    cross_validate(features, labels, groups, "logistic", folds=2)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_rows_influence_nothing_that_is_fitted(kind: str) -> None:
    """Making one held-out row absurd must leave the other rows of its fold exactly as they were."""
    features, labels, groups = signal()
    before = cross_validate(features, labels, groups, kind, folds=4)
    row, *others = before.folds[1].rows
    absurd = features.copy()
    absurd[row] = 1e6
    after = cross_validate(absurd, labels, groups, kind, folds=4)
    assert np.array_equal(after.scores[0, others], before.scores[0, others])
    assert after.folds[1].strength == before.folds[1].strength
    elsewhere = before.folds[0].rows  # there the row is in training, and does change the model
    assert not np.array_equal(after.scores[0, elsewhere], before.scores[0, elsewhere])


@pytest.mark.parametrize("kind", KINDS)
def test_real_signal_is_found(kind: str) -> None:
    result = cross_validate(*signal(), kind, folds=4)
    assert result.accuracy > 0.9
    assert result.auc > 0.97


def test_result_adds_up() -> None:
    features, labels, groups = signal(patients=30)
    features = features / 3 + np.random.default_rng(1).normal(size=features.shape)
    labels = labels * 2 + 3  # 3 and 5
    result = cross_validate(features, labels, groups, folds=3, repeats=2, seed=4)
    assert result.classes.tolist() == [3, 5]
    assert result.scores.shape == result.predictions.shape == (2, 30)
    assert len(result.folds) == 6
    for repeat in range(2):
        folds = [fold for fold in result.folds if fold.repeat == repeat]
        assert sorted(np.concatenate([fold.rows for fold in folds]).tolist()) == list(range(30))
        for fold in folds:
            scores = result.scores[repeat, fold.rows]
            assert fold.accuracy == np.mean(np.where(scores > 0, 5, 3) == labels[fold.rows])
            assert fold.auc == roc_auc_score(labels[fold.rows] == 5, scores)
    assert result.folds[0].rows.tolist() != result.folds[3].rows.tolist()
    assert np.array_equal(result.scores, cross_validate(features, labels, groups, folds=3, repeats=2, seed=4).scores)


def test_three_classes() -> None:
    result = cross_validate(*signal(patients=45, classes=3), "logistic", folds=3)
    assert result.scores.shape == (1, 45, 3)
    assert result.accuracy > 0.9
    assert result.auc > 0.95


def test_patients_stay_together() -> None:
    features, labels, groups = noise(patients=20, rows=3)
    names = np.array([f"patient {group}" for group in groups])
    for fold in cross_validate(features, labels, names, "logistic", folds=4).folds:
        assert not set(names[fold.rows]) & set(np.delete(names, fold.rows))


def test_fitted_on_all_rows_for_the_test_set() -> None:
    features, labels, groups = signal()
    model = fit_classifier(features, labels, groups, "logistic")
    np.testing.assert_allclose(model.named_steps["scale"].mean_, features.mean(axis=0))
    unseen, truth, _ = signal(seed=9)
    assert model.score(unseen, truth) > 0.9


def test_pipelines_scale_before_they_classify() -> None:
    features, labels, _ = signal()
    scaled = StandardScaler().fit_transform(features)
    machine = SVC(C=0.1, kernel="linear", class_weight="balanced").fit(scaled, labels)
    np.testing.assert_allclose(
        features_svm(0.1).fit(features, labels).decision_function(features), machine.decision_function(scaled)
    )
    units = np.geomspace(1e-3, 1e3, features.shape[1])  # the units of a feature must not matter
    np.testing.assert_allclose(
        features_logistic().fit(features, labels).predict_proba(features),
        features_logistic().fit(features * units, labels).predict_proba(features * units),
        atol=1e-6,
    )


def test_wrong_questions_are_refused() -> None:
    features, labels, groups = signal(patients=12)
    with pytest.raises(ConfigError, match="did you mean 'logistic'"):
        cross_validate(features, labels, groups, "logistik")
    with pytest.raises(ConfigError, match="folds >= 2"):
        cross_validate(features, labels, groups, folds=1)
    with pytest.raises(DataError, match="too few patients for so many folds"):
        cross_validate(features, labels, groups, folds=7)
    with pytest.raises(DataError, match="NaN"):
        cross_validate(np.full_like(features, np.nan), labels, groups)
    with pytest.raises(DataError, match="1 class"):
        cross_validate(features, np.zeros(12, int), groups)
    with pytest.raises(ConfigError, match="strength"):
        features_svm(0.0)
    with pytest.raises(ConfigError, match="kernel"):
        features_svm(kernel="poly")
