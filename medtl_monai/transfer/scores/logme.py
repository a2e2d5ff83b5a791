"""LogME, the evidence of a Bayesian linear model, with the term that many implementations leave out when N < D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.inputs import checked, checked_features

MAX_ITERATIONS = 11
TOLERANCE = 1e-3  # relative change of a/b at which the fixed point has converged
STARTS = np.geomspace(1e-6, 1e6, 49)  # of a/b, in units of the mean squared singular value
RANK_TOLERANCE = 1e-12  # squared singular values below this share of the largest are rounding
NOISE_FLOOR = 1e-12  # smallest residual, as a share of the target's energy, that bounds b


@dataclass(frozen=True)
class Evidence:
    """Fitted model ``y ~ N(F w, 1/b)``, ``w ~ N(0, 1/a)``.

    Attributes:
        a: precision of the weights.
        b: precision of the noise.
        log_evidence: log density of the whole target (not divided by N).
        iterations: steps of the fixed point, 11 at most.
        converged: whether the last step changed a/b by less than 1 in 1,000.
    """

    a: float
    b: float
    log_evidence: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class _Spectrum:
    """What the evidence needs to know of features and target: ``n`` independent observations of ``D`` features."""

    sigma: np.ndarray  # squared singular values (k,)
    projected: np.ndarray  # squared components of the target along them (k,)
    outside: float  # squared part of the target that no weights can reach
    n: int
    features: int

    @property
    def energy(self) -> float:
        return float(self.projected.sum()) + self.outside

    def moments(self, t: float) -> tuple[float, float, float, float]:
        """At ``t = a / b``: gamma, n - gamma, |m|^2 and |y - F m|^2, none by a cancelling difference."""
        kept = t / (self.sigma + t)
        gamma = float((self.sigma / (self.sigma + t)).sum())
        weights = float((self.sigma * self.projected / (self.sigma + t) ** 2).sum())
        residual = float((kept**2 * self.projected).sum()) + self.outside
        return gamma, self.n - len(self.sigma) + float(kept.sum()), weights, residual

    def log_evidence(self, a: float, b: float) -> float:
        """Log density of the target under ``N(0, I/b + F F'/a)``."""
        _, _, weights, residual = self.moments(a / b)
        k = len(self.sigma)
        return 0.5 * (
            self.features * np.log(a)
            + self.n * np.log(b)
            - float(np.log(a + b * self.sigma).sum())
            - (self.features - k) * np.log(a)  # the D - k directions without data: their posterior is the prior
            - b * residual
            - a * weights
            - self.n * np.log(2 * np.pi)
        )

    def profile(self, t: np.ndarray) -> np.ndarray:
        """Log evidence, but for a constant, at every ``t = a / b`` with the best b for it."""
        ratio = self.sigma / t[:, None]
        residual = (self.projected / (1 + ratio)).sum(axis=1) + self.outside
        b = self.n / np.maximum(residual, NOISE_FLOOR * self.energy)
        return 0.5 * (self.n * np.log(b) - np.log1p(ratio).sum(axis=1) - b * residual)


def _fit(spectrum: _Spectrum) -> Evidence:
    """MacKay's fixed point of a and b, started at the best of a grid of a/b."""
    starts = STARTS * float(spectrum.sigma.mean())
    t = float(starts[int(np.argmax(spectrum.profile(starts)))])
    tiny, floor = np.finfo(np.float64).tiny, NOISE_FLOOR * spectrum.energy
    steps, converged = 0, False
    while steps < MAX_ITERATIONS and not converged:
        gamma, freedom, weights, residual = spectrum.moments(t)
        a, b = gamma / max(weights, tiny), freedom / max(residual, floor)
        steps, converged = steps + 1, abs(a / b - t) <= TOLERANCE * t
        t = a / b
    return Evidence(a, b, spectrum.log_evidence(a, b), steps, converged)


def _decomposed(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors ``(N, k)`` and squared singular values ``(k,)``, without those that are rounding."""
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    sigma = singular**2
    kept = sigma > RANK_TOLERANCE * sigma[0]
    if not kept.any():
        raise DataError("the features do not vary", expected="at least one feature that differs between rows")
    return left[:, kept], sigma[kept]


def _spectrum(left: np.ndarray, sigma: np.ndarray, target: np.ndarray, n: int, features: int) -> _Spectrum:
    projected = (left.T @ target) ** 2
    return _Spectrum(sigma, projected, max(float(target @ target - projected.sum()), 0.0), n, features)


def fit_evidence(features: ArrayLike, target: ArrayLike) -> Evidence:
    """Fit a and b to maximise the evidence of ``target`` given ``features``; nothing is centred here.

    Args:
        features: ``(N, D)``, N below or above D.
        target: ``(N,)`` real numbers, not all zero.

    Raises:
        DataError: shapes that do not agree, values that are not finite, features or target all zero.
    """
    array, values = checked_features(features), np.asarray(target, dtype=np.float64)
    if values.shape != (len(array),) or not np.isfinite(values).all() or not values.any():
        raise DataError(
            "the target cannot be fitted",
            expected=f"{len(array)} finite numbers, not all zero",
            got=f"shape {values.shape}, {int((~np.isfinite(values)).sum())} not finite",
        )
    return _fit(_spectrum(*_decomposed(array), values, *array.shape))


def logme(features: ArrayLike, labels: ArrayLike) -> float:
    """Log of the maximum evidence of the labels, per row: the mean over classes, one against the rest. Higher: better.

    You et al. 2021, arXiv:2102.11005, with D/2 ln a - (D - k)/2 ln a, k the number of singular values. Without the
    second term the score is too high by (D - k)/(2N) ln a wherever the features span fewer than D directions.

    Features and class indicators are both centred, and the evidence is that of the N - 1 remaining observations: a
    model with a free intercept. With centred features and indicators left at 0 and 1 the class mean counts as noise,
    and in few rows all features score alike.

    The fixed point starts at the best of 49 values of a/b and stops once a step changes a/b by less than 1 in 1,000,
    or after 11 steps. Units of the features do not matter. Labels that the features reproduce without error have
    unbounded evidence; the noise is taken to be 1e-12 of their energy at least. Scores of different N are not
    comparable; of different D only with care.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, C >= 2 classes.

    Raises:
        DataError: malformed input, or features that do not vary.
    """
    sample = checked(features, labels)
    rows, width = sample.features.shape
    left, sigma = _decomposed(sample.features - sample.features.mean(axis=0))
    total = 0.0
    for code in range(len(sample.classes)):
        target = (sample.labels == code).astype(np.float64)
        total += _fit(_spectrum(left, sigma, target - target.mean(), rows - 1, width)).log_evidence
    return total / len(sample.classes) / rows
