"""Linear probe: logistic regression on frozen features, cross-validated over patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.inputs import Sample, checked

FOLDS = 5
INNER_FOLDS = 3
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C, larger: weaker regularisation
ATTEMPTS = 20  # shuffles tried before the number of folds goes down

Fold = tuple[np.ndarray, np.ndarray]


def _patients_per_class(labels: np.ndarray, groups: np.ndarray) -> int:
    """The fewest patients that any class occurs in."""
    return min(len(np.unique(groups[labels == code])) for code in np.unique(labels))


def grouped_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> list[Fold]:
    """Stratified (training rows, test rows), no patient in both parts, every class in every test part.

    Takes as many folds as possible, ``folds`` at most and 2 at least.

    Args:
        labels: ``(N,)`` class numbers.
        groups: ``(N,)`` patient of each row.
        folds: wished for.
        seed: of the shuffling.

    Raises:
        DataError: the patients cannot be divided so.
    """
    classes = len(np.unique(labels))
    fewest = _patients_per_class(labels, groups)
    rng = np.random.default_rng(seed)
    for count in range(min(folds, fewest), 1, -1):
        for _ in range(ATTEMPTS):
            splitter = StratifiedGroupKFold(count, shuffle=True, random_state=int(rng.integers(2**31)))
            parts = list(splitter.split(np.zeros((len(labels), 1)), labels, groups))
            if all(len(np.unique(labels[test])) == classes for _, test in parts):
                return parts
    raise DataError(
        "too few patients for a cross-validation over patients",
        expected="every class in every part; 3 patients per class at the very least, more where patients have several",
        got=f"a class that occurs in {fewest} patients",
        remedy="use more patients, or a score without cross-validation",
    )


def _fitted(sample: Sample, rows: np.ndarray, seed: int) -> GridSearchCV:
    labels, groups = sample.labels[rows], sample.groups[rows]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    inner = grouped_folds(labels, groups, INNER_FOLDS, seed)
    search = GridSearchCV(pipeline, {"logisticregression__C": STRENGTHS}, scoring="neg_log_loss", cv=inner)
    return search.fit(sample.features[rows], labels)


def _out_of_fold(sample: Sample, seed: int) -> list[Fold]:
    """Per fold: test rows and their probabilities ``(n, C)``."""
    found = []
    for train, test in grouped_folds(sample.labels, sample.groups, FOLDS, seed):
        found.append((test, _fitted(sample, train, seed).predict_proba(sample.features[test])))
    return found


def probe_accuracy(features: ArrayLike, labels: ArrayLike, groups: ArrayLike, seed: int) -> float:
    """Accuracy of a linear probe on held-out patients, over all rows. Between 0 and 1.

    Five folds over patients (fewer where a class has fewer patients), stratified. Standardisation, and the choice of
    C by log loss in an inner cross-validation over patients, see the training patients only. The most frequent
    class's share is what no information gives.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row.
        seed: of the folds; sources are to be compared with the same one.

    Raises:
        DataError: malformed input, or too few patients per class.
    """
    sample = checked(features, labels, groups)
    right = sum(
        int((probabilities.argmax(axis=1) == sample.labels[test]).sum())
        for test, probabilities in _out_of_fold(sample, seed)
    )
    return right / len(sample.labels)


def probe_auc(features: ArrayLike, labels: ArrayLike, groups: ArrayLike, seed: int) -> float:
    """Area under the ROC curve of the same probe: mean over folds; over classes one against the rest. Chance: 0.5.

    Per fold, because probabilities of models of different folds are not on one scale. Arguments and errors as
    ``probe_accuracy``.
    """
    sample = checked(features, labels, groups)
    areas = []
    for test, probabilities in _out_of_fold(sample, seed):
        truth = sample.labels[test]
        areas.append(
            np.mean([roc_auc_score(truth == code, probabilities[:, code]) for code in range(len(sample.classes))])
        )
    return float(np.mean(areas))
