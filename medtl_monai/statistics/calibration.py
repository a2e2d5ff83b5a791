"""Probabilities that mean what they say: the temperature of a classifier, and how far off it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from medtl_monai.errors import DataError

SMALLEST, LARGEST = 0.1, 10.0
PRIOR_SD = 0.5
BINS = 15


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> float:
    """Temperature T for ``softmax(logits / T)``, fitted on cases that the network was not trained on.

    The log likelihood of Guo et al. (ICML 2017, arXiv:1706.04599), and a normal prior of ``log T`` around 0 with a
    standard deviation of 0.5. A few cases that happen to be separated without error have no finite optimum: without
    the prior they would make the classifier as sure as it can be. With a hundred cases it hardly counts.

    Args:
        logits: ``(N, classes)``.
        truth: ``(N,)`` class numbers.

    Returns:
        Between 0.1 and 10. Above 1 the network was too sure, below 1 too hesitant.

    Raises:
        DataError: no cases, logits that are not finite, or classes that are not in the logits.
    """
    scores, classes = _checked(logits, truth)
    cases = np.arange(len(classes))

    def cost(log_temperature: float) -> float:
        likelihood = log_softmax(scores / np.exp(log_temperature), axis=1)[cases, classes].sum()
        return float(-likelihood + (log_temperature / PRIOR_SD) ** 2 / 2)

    found = minimize_scalar(cost, bounds=(np.log(SMALLEST), np.log(LARGEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def log_loss(logits: ArrayLike, truth: ArrayLike) -> float:
    """Mean negative log likelihood, in nats. Raises DataError as :func:`fit_temperature`."""
    scores, classes = _checked(logits, truth)
    return float(-log_softmax(scores, axis=1)[np.arange(len(classes)), classes].mean())


def calibration_error(probabilities: ArrayLike, truth: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error of the predicted class: confidence against accuracy in ``bins`` of equal width.

    Guo et al. (2017), equation 3. With few cases it is too high even for a perfect classifier.

    Args:
        probabilities: ``(N, classes)``.
        truth: ``(N,)`` class numbers.
        bins: number of bins over (0, 1].

    Raises:
        DataError: no cases, numbers that are not finite, or classes that are not in the probabilities.
    """
    values, classes = _checked(probabilities, truth)
    confidence, hit = values.max(axis=1), values.argmax(axis=1) == classes
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, hit.astype(float) - confidence, bins)
    return float(np.abs(gaps).sum() / len(classes))


def threshold_at_specificity(scores: ArrayLike, truth: ArrayLike, specificity: float) -> float:
    """Smallest threshold t with which at least this share of the negative cases has a score below t.

    A case is called positive if its score is t or more.

    Args:
        scores: ``(N,)``, larger where the finding is more likely.
        truth: ``(N,)``, whether each case has the finding.
        specificity: in (0, 1].

    Raises:
        DataError: no negative case.
    """
    negatives = np.sort(np.asarray(scores, dtype=float)[~np.asarray(truth, dtype=bool)])
    if not len(negatives):
        raise DataError("a threshold at a specificity needs cases without the finding", expected="1 or more", got=0)
    needed = int(np.ceil(specificity * len(negatives) - 1e-9))
    return float(np.nextafter(negatives[needed - 1], np.inf))


def _checked(values: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    table, classes = np.asarray(values, dtype=np.float64), np.asarray(truth).astype(np.intp).ravel()
    if table.ndim != 2 or not len(classes) or len(table) != len(classes):
        raise DataError(
            "one row per case is needed",
            expected="numbers (cases, classes) and one class per case",
            got=f"{table.shape} and {len(classes)} classes",
        )
    if not np.isfinite(table).all():
        raise DataError("numbers that are not finite", expected="finite numbers", got="NaN or infinity")
    if classes.min() < 0 or classes.max() >= table.shape[1]:
        raise DataError("no such class", expected=f"0 to {table.shape[1] - 1}", got=sorted(set(classes.tolist())))
    return table, classes
