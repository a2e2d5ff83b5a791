"""Softmax regression with an L2 penalty for many small fits: as scikit-learn's, without its cost per call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

GRADIENT, STEPS = 1e-4, 300  # where a fit ends: a finer one would not change the order of sources


@dataclass(frozen=True)
class Space:
    """Standardised features, turned where that makes them shorter; a linear map fixed by the training rows.

    Attributes:
        mean, deviation: of the training rows; 1 where a feature is constant.
        directions: ``(D, r)``, an orthonormal basis of the training rows, or None for the features themselves.
    """

    mean: np.ndarray
    deviation: np.ndarray
    directions: np.ndarray | None

    @classmethod
    def of(cls, features: np.ndarray) -> Space:
        """The space of training rows ``(n, D)``.

        The weights of a penalised linear model lie in the span of the training rows, so that a model in coordinates of
        that span is the same model.
        """
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        if 2 * len(features) > features.shape[1]:
            return cls(mean, deviation, None)
        rows = (features - mean) / deviation
        return cls(mean, deviation, np.linalg.qr(rows.T)[0])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """``(n, D) -> (n, r)``."""
        rows = (features - self.mean) / self.deviation
        return rows if self.directions is None else rows @ self.directions


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """``(n,)`` with mean 1 that give every class the same sum."""
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(counts) * counts[codes.reshape(-1)])


def fit_path(rows: np.ndarray, labels: np.ndarray, classes: int, strengths: Sequence[float]) -> list[np.ndarray]:
    """Fit once per strength, each from the last one's solution.

    Minimises ``sum_i w_i loss_i + |W|^2 / (2 C)`` for every C in ``strengths``, with balanced class weights w; the
    intercepts are not penalised.

    Args:
        rows: ``(n, r)``.
        labels: ``(n,)`` class numbers 0 to ``classes`` - 1.
        classes: how many.
        strengths: C, ascending.

    Returns:
        Per strength ``(r + 1, classes)``: weights, and the intercepts in the last row.
    """
    weights = balanced_weights(labels) / len(labels)
    indicator = np.eye(classes)[labels]
    shape = (rows.shape[1] + 1, classes)
    solution, found = np.zeros(shape), []
    for strength in strengths:
        penalty = 1.0 / (strength * len(labels))

        def objective(flat: np.ndarray, penalty: float = penalty) -> tuple[float, np.ndarray]:
            matrix = flat.reshape(shape)
            logs = log_softmax(rows @ matrix[:-1] + matrix[-1], axis=1)
            residual = weights[:, None] * (np.exp(logs) - indicator)
            gradient = np.empty(shape)
            gradient[:-1] = rows.T @ residual + penalty * matrix[:-1]
            gradient[-1] = residual.sum(axis=0)
            loss = -float((weights[:, None] * indicator * logs).sum()) + 0.5 * penalty * float((matrix[:-1] ** 2).sum())
            return loss, gradient.ravel()

        options = {"gtol": GRADIENT, "maxiter": STEPS}
        solution = minimize(objective, solution.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(shape)
        found.append(solution)
    return found


def log_probabilities(rows: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """``(n, classes)`` of rows ``(n, r)``."""
    return log_softmax(rows @ solution[:-1] + solution[-1], axis=1)
