"""Classical classifiers on frozen features, cross-validated over patients with nothing fitted outside the folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.lookup import look_up
from medtl_monai.transfer.scores.inputs import Sample, checked
from medtl_monai.transfer.scores.probe import grouped_folds

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C, ascending: of equals the most regularised is taken
INNER_FOLDS = 3


def features_svm(strength: float = 1.0, kernel: str = "linear") -> Pipeline:
    """Standardisation and a support vector machine with balanced class weights.

    Args:
        strength: C of the machine; larger is less regularised.
        kernel: ``"linear"`` or ``"rbf"``.

    Raises:
        ConfigError: another kernel, or C not above 0.
    """
    if kernel not in ("linear", "rbf"):
        raise ConfigError("unknown kernel", expected="linear or rbf", got=kernel)
    machine = SVC(C=_positive(strength), kernel=kernel, class_weight="balanced")
    return Pipeline([("scale", StandardScaler()), ("classify", machine)])


def features_logistic(strength: float = 1.0) -> Pipeline:
    """Standardisation and an L2-regularised logistic regression with balanced class weights.

    Raises ConfigError if `strength`, its C, is not above 0.
    """
    regression = LogisticRegression(C=_positive(strength), class_weight="balanced", max_iter=5000)
    return Pipeline([("scale", StandardScaler()), ("classify", regression)])


def _positive(strength: float) -> float:
    if not 0.0 < strength < np.inf:
        raise ConfigError("regularisation strength out of range", expected="0 < C", got=strength)
    return strength


CLASSIFIERS: dict[str, tuple[Callable[[], Pipeline], str]] = {
    "svm": (features_svm, "balanced_accuracy"),
    "svm_rbf": (lambda: features_svm(kernel="rbf"), "balanced_accuracy"),
    "logistic": (features_logistic, "neg_log_loss"),
}
"""Kind -> its pipeline and the score by which C is chosen."""


@dataclass(frozen=True)
class FoldResult:
    """One fold of one repeat.

    Attributes:
        repeat: number of the repeat, from 0.
        rows: the held-out rows.
        strength: the C chosen inside the training patients.
        accuracy: share of held-out rows that are right.
        auc: area under the ROC curve on them; the mean over classes, one against the rest, where there are three.
    """

    repeat: int
    rows: np.ndarray
    strength: float
    accuracy: float
    auc: float


@dataclass(frozen=True)
class CrossValidation:
    """Result of :func:`cross_validate`.

    Attributes:
        kind: the classifier.
        classes: label values, sorted.
        folds: one row per fold and repeat.
        scores: out-of-fold decision values: ``(repeats, N)`` for the second of two classes, else ``(repeats, N, C)``.
            They come from one model per fold, which are not on one scale: rank within a fold only.
        predictions: out-of-fold label values ``(repeats, N)``.
    """

    kind: str
    classes: np.ndarray
    folds: tuple[FoldResult, ...]
    scores: np.ndarray
    predictions: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean over folds."""
        return float(np.mean([fold.accuracy for fold in self.folds]))

    @property
    def auc(self) -> float:
        """Mean over folds; 0.5 is chance."""
        return float(np.mean([fold.auc for fold in self.folds]))


def _require_no_shared_rows(sample: Sample) -> None:
    """Raise DataError if rows of different patients are the very same: one scan under two names leaks over folds."""
    _, first, copies = np.unique(sample.features, axis=0, return_index=True, return_inverse=True)
    origin = first[copies.reshape(-1)]
    shared = np.flatnonzero(sample.groups != sample.groups[origin])
    if len(shared):
        pairs = [f"{origin[row]} = {row}" for row in shared]
        raise DataError(
            "different patients have the very same features",
            expected="every scan under one patient only",
            got="rows " + ", ".join(pairs),
            remedy="give copies of a scan the same patient; if all rows are equal, the network's output is constant",
        )


def fit_classifier(
    features: ArrayLike, labels: ArrayLike, groups: ArrayLike, kind: str = "svm", seed: int = 0
) -> Pipeline:
    """A pipeline fitted on all rows given: for the training set, before the test set is looked at, once.

    C is chosen in an inner cross-validation over patients, then everything is fitted again on all rows.

    Args:
        features: ``(N, F)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row.
        kind: ``"svm"``, ``"svm_rbf"`` or ``"logistic"``.
        seed: of the inner folds.

    Raises:
        DataError: malformed input, the same row under two patients, or too few patients per class.
        ConfigError: another kind.
    """
    sample = checked(features, labels, groups)
    _require_no_shared_rows(sample)
    rows = np.arange(len(sample.labels))
    return _fitted(sample, rows, kind, seed).best_estimator_


def _fitted(sample: Sample, rows: np.ndarray, kind: str, seed: int) -> GridSearchCV:
    build, scoring = look_up(CLASSIFIERS, kind, "classifier")
    labels = sample.classes[sample.labels[rows]]
    inner = grouped_folds(sample.labels[rows], sample.groups[rows], INNER_FOLDS, seed)
    search = GridSearchCV(
        build(), {"classify__C": STRENGTHS}, scoring=scoring, cv=inner, refit=True, error_score="raise"
    )
    return search.fit(sample.features[rows], labels)


def _auc(right: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of class numbers ``(n,)`` by decision values ``(n,)`` or ``(n, C)``."""
    if scores.ndim == 1:
        return float(roc_auc_score(right == 1, scores))
    return float(np.mean([roc_auc_score(right == code, scores[:, code]) for code in range(scores.shape[1])]))


def cross_validate(
    features: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    kind: str = "svm",
    *,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
) -> CrossValidation:
    """Score a classifier on patients that it has not seen, stratified by class.

    Standardisation, the choice of C and the classifier see the training patients of a fold only; no patient is in both
    parts. Each repeat shuffles anew.

    Args:
        features: ``(N, F)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row, numbers or names.
        kind: ``"svm"``, ``"svm_rbf"`` or ``"logistic"``.
        folds: 2 or more, exactly as many are made.
        repeats: 1 or more.
        seed: of all shuffling.

    Raises:
        DataError: malformed input, the same row under two patients, or too few patients for so many folds with every
            class in each.
        ConfigError: another kind, fewer than 2 folds, or no repeat.
    """
    look_up(CLASSIFIERS, kind, "classifier")
    if folds < 2 or repeats < 1:
        raise ConfigError("no cross-validation", expected="folds >= 2, repeats >= 1", got=f"{folds}, {repeats}")
    sample = checked(features, labels, groups)
    _require_no_shared_rows(sample)
    rows, width = len(sample.labels), len(sample.classes)
    scores = np.full((repeats, rows) if width == 2 else (repeats, rows, width), np.nan)
    predictions = np.empty((repeats, rows), dtype=sample.classes.dtype)
    results: list[FoldResult] = []
    for repeat in range(repeats):
        for train, test in _outer_folds(sample, folds, seed + repeat):
            model = _fitted(sample, train, kind, seed + repeat)
            scores[repeat, test] = model.decision_function(sample.features[test])
            predictions[repeat, test] = model.predict(sample.features[test])
            accuracy = float(np.mean(predictions[repeat, test] == sample.classes[sample.labels[test]]))
            auc = _auc(sample.labels[test], scores[repeat, test])
            results.append(FoldResult(repeat, test, float(model.best_params_["classify__C"]), accuracy, auc))
    return CrossValidation(kind, sample.classes, tuple(results), scores, predictions)


def _outer_folds(sample: Sample, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = grouped_folds(sample.labels, sample.groups, folds, seed)
    if len(parts) < folds:
        raise DataError(
            "too few patients for so many folds",
            expected=f"every class in each of {folds} parts of the patients",
            got=f"{len(parts)} such parts at most",
            remedy=f"use folds={len(parts)}",
        )
    return parts
