"""The criterion: a linear probe on frozen features, judged on patients that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from medtl_monai.ranking.linear import Space, balanced_weights, fit_path, log_probabilities
from medtl_monai.transfer.scores.inputs import Sample, checked
from medtl_monai.transfer.scores.probe import Fold, grouped_folds

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the logistic regression, ascending: of equals the strictest
MOST_FOLDS, INNER_FOLDS = 5, 3


@dataclass(frozen=True)
class OutOfFold:
    """What the probe says of every row while it is trained on other patients.

    Attributes:
        probabilities: ``(R, N, C)`` for R repeats of the cross-validation.
        folds: ``(R, N)`` the fold in which a row was held out. Probabilities of two folds come from two models, which
            are not on one scale: rank rows within a fold only.
    """

    probabilities: np.ndarray
    folds: np.ndarray

    def columns(self) -> np.ndarray:
        """One matrix ``(N, R * C + R)``, as the resampling of scores wants it; :meth:`of_columns` turns it back."""
        repeats, rows, classes = self.probabilities.shape
        flat = self.probabilities.transpose(1, 0, 2).reshape(rows, repeats * classes)
        return np.concatenate([flat, self.folds.T], axis=1)

    @classmethod
    def of_columns(cls, columns: np.ndarray, classes: int) -> OutOfFold:
        """The inverse of :meth:`columns`, for any choice of rows."""
        repeats = columns.shape[1] // (classes + 1)
        flat = columns[:, : repeats * classes].reshape(len(columns), repeats, classes)
        return cls(flat.transpose(1, 0, 2), columns[:, repeats * classes :].T.astype(np.int64))


def folds_for(labels: np.ndarray, groups: np.ndarray) -> int:
    """How many folds leave two patients of every class in each, from 2 to 5."""
    fewest = min(len(np.unique(groups[labels == code])) for code in np.unique(labels))
    return int(np.clip(fewest // 2, 2, MOST_FOLDS))


def out_of_fold(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int, repeats: int) -> OutOfFold:
    """Cross-validate the probe over patients, ``repeats`` times with other folds.

    Logistic regression with balanced class weights on standardised features. Standardisation and the choice of C (by
    log loss in an inner cross-validation over patients) see the training patients of a fold only.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        groups: ``(N,)`` patient of each row.
        seed: of all folds: sources compared with each other get the same one, and so the same folds.
        repeats: one at least.

    Raises:
        DataError: malformed input, or too few patients per class.
    """
    sample = checked(features, labels, groups)
    rows, classes = len(sample.labels), len(sample.classes)
    probabilities = np.full((repeats, rows, classes), np.nan)
    folds = np.zeros((repeats, rows), dtype=np.int64)
    for repeat in range(repeats):
        parts = grouped_folds(
            sample.labels, sample.groups, folds_for(sample.labels, sample.groups), seed + 1000 * repeat
        )
        for number, (train, test) in enumerate(parts):
            probabilities[repeat, test] = _held_out(sample, train, test, seed)
            folds[repeat, test] = number
    return OutOfFold(probabilities, folds)


def _held_out(sample: Sample, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities of the test rows by a probe of the training rows, its C chosen among them."""
    labels, classes = sample.labels[train], len(sample.classes)
    losses = np.zeros(len(STRENGTHS))
    for fold in grouped_folds(labels, sample.groups[train], INNER_FOLDS, seed):
        losses += _losses(sample.features[train], labels, classes, fold)
    space = Space.of(sample.features[train])
    chosen = STRENGTHS[: int(np.argmin(losses)) + 1]
    solution = fit_path(space(sample.features[train]), labels, classes, chosen)[-1]
    return np.exp(log_probabilities(space(sample.features[test]), solution))


def _losses(features: np.ndarray, labels: np.ndarray, classes: int, fold: Fold) -> np.ndarray:
    """Per strength the log loss on the fold's test rows, every class with the same weight."""
    train, test = fold
    space, weights = Space.of(features[train]), balanced_weights(labels[test])
    rows = space(features[test])
    solutions = fit_path(space(features[train]), labels[train], classes, STRENGTHS)
    return np.array(
        [
            -np.average(log_probabilities(rows, each)[np.arange(len(test)), labels[test]], weights=weights)
            for each in solutions
        ]
    )


def auc_within_folds(found: OutOfFold, labels: np.ndarray) -> float:
    """Share of pairs of rows of one fold, one of the class and one not, that are in the right order.

    A tie counts half. One class against the rest; mean over classes and repeats; 0.5 is chance. With one fold and two
    classes this is the area under the ROC curve.

    Args:
        found: of N rows.
        labels: ``(N,)`` class numbers 0 to C - 1.

    Returns:
        NaN where no fold holds a pair.
    """
    areas = []
    for probabilities, folds in zip(found.probabilities, found.folds, strict=True):
        for code in range(probabilities.shape[1]):
            wins = pairs = 0.0
            for fold in np.unique(folds):
                rows = folds == fold
                more, of = _ordered(probabilities[rows, code], labels[rows] == code)
                wins, pairs = wins + more, pairs + of
            areas.append(wins / pairs if pairs else np.nan)
    known = np.isfinite(areas)
    return float(np.mean(np.asarray(areas)[known])) if known.any() else float("nan")


def _ordered(values: np.ndarray, positive: np.ndarray) -> tuple[float, int]:
    """How many pairs of a positive and a negative value are in the right order, and how many pairs there are."""
    count = int(positive.sum())
    wins = float(rankdata(values)[positive].sum()) - count * (count + 1) / 2
    return wins, count * (len(values) - count)


def balanced_accuracy(found: OutOfFold, labels: np.ndarray) -> float:
    """Mean over classes of the share of their rows that are right; mean over repeats."""
    right = found.probabilities.argmax(axis=2) == labels
    return float(np.mean([right[:, labels == code].mean() for code in np.unique(labels)]))


def accuracy_per_patient(found: OutOfFold, labels: np.ndarray, groups: np.ndarray) -> float:
    """The mean over patients of their own balanced accuracy: every patient counts once, every class in it too."""
    right = (found.probabilities.argmax(axis=2) == labels).mean(axis=0)
    shares = []
    for patient in np.unique(groups):
        own = groups == patient
        shares.append(np.mean([right[own & (labels == code)].mean() for code in np.unique(labels[own])]))
    return float(np.mean(shares))
