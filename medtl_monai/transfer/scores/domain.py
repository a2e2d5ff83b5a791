"""Distances between the features of two domains: MMD with a test over patients, and Frechet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.inputs import checked_features

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median distance
CHUNK = 256  # permutations computed together
TIE = 1e-12  # a permuted value this close below counts as equal: sums run in another order


@dataclass(frozen=True)
class MMDTest:
    """Squared MMD, the share of permutations that reach it, and how many there were."""

    mmd_squared: float
    p_value: float
    permutations: int


@dataclass(frozen=True)
class _Pooled:
    kernel: np.ndarray  # (N + M, N + M); 0 for two rows of one patient
    apart: np.ndarray  # same shape; 1 for two rows of different patients
    patients: np.ndarray  # (N + M,) patient numbers
    from_source: np.ndarray  # (patients,) whether the patient is of the source


def _patients(source: ArrayLike, target: ArrayLike, rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(source), np.asarray(target)
    if (first.shape, second.shape) != ((rows[0],), (rows[1],)):
        raise DataError("groups do not match the features", expected=rows, got=(first.shape, second.shape))
    names, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    codes = codes.reshape(-1)
    of_source, of_target = (np.bincount(part, minlength=len(names)) > 0 for part in np.split(codes, [rows[0]]))
    both = names[of_source & of_target]
    if len(both):
        raise DataError(
            "patients in both domains",
            expected="every patient in one domain",
            got=f"{len(both)} in both, the first {both[0]}",
            remedy="name patients so that names differ between the domains, or keep such patients in one of them",
        )
    if of_source.sum() < 2 or of_target.sum() < 2:
        raise DataError(
            "too few patients to compare domains",
            expected="two in each",
            got=(int(of_source.sum()), int(of_target.sum())),
        )
    return codes, of_source


def _pooled(source: ArrayLike, target: ArrayLike, source_groups: ArrayLike, target_groups: ArrayLike) -> _Pooled:
    first, second = checked_features(source, "source features"), checked_features(target, "target features")
    if first.shape[1] != second.shape[1]:
        raise DataError("domains of different width", expected=f"{first.shape[1]} features", got=second.shape[1])
    patients, from_source = _patients(source_groups, target_groups, (len(first), len(second)))
    rows = np.concatenate([first, second])
    squared = cdist(rows, rows, "sqeuclidean")
    apart = patients[:, None] != patients[None, :]
    median = float(np.median(np.sqrt(squared[apart])))
    if median == 0:
        raise DataError("more than half of the rows are copies of others", expected="features that vary")
    kernel = np.zeros_like(squared)
    for factor in BANDWIDTHS:
        kernel += np.exp(-squared / (2 * (factor * median) ** 2))
    return _Pooled(kernel * apart / len(BANDWIDTHS), apart.astype(np.float64), patients, from_source)


def _between(matrix: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of a symmetric matrix over source-source, target-target and source-target pairs, per column of chosen."""
    product = matrix @ chosen
    inside = (chosen * product).sum(axis=0)
    across = product.sum(axis=0) - inside
    return inside, matrix.sum() - inside - 2 * across, across


def _mmd_squared(pooled: _Pooled, from_source: np.ndarray) -> np.ndarray:
    """For every column of ``from_source`` (patients, columns)."""
    chosen = from_source[pooled.patients].astype(np.float64)
    sums, pairs = _between(pooled.kernel, chosen), _between(pooled.apart, chosen)
    means = [total / count for total, count in zip(sums, pairs, strict=True)]
    return means[0] + means[1] - 2 * means[2]


def mmd_squared(source: ArrayLike, target: ArrayLike, source_groups: ArrayLike, target_groups: ArrayLike) -> float:
    """Squared maximum mean discrepancy, unbiased: 0 on average for equal domains, below 0 at times.

    Gretton et al. 2012: the U-statistic, with the mean of five Gaussian kernels ``exp(-d^2 / (2 s^2))``, s a quarter
    to four times the median distance. Two rows of one patient are no pair: they are alike in any domain. With one row
    per patient this is the common U-statistic.

    Args:
        source: ``(N, D)``.
        target: ``(M, D)``.
        source_groups: ``(N,)`` patient of each row, two patients at least, none of the target's.
        target_groups: ``(M,)``.

    Raises:
        DataError: malformed input, a patient in both domains, fewer than two patients in one.
    """
    pooled = _pooled(source, target, source_groups, target_groups)
    return float(_mmd_squared(pooled, pooled.from_source[:, None])[0])


def mmd_test(
    source: ArrayLike,
    target: ArrayLike,
    source_groups: ArrayLike,
    target_groups: ArrayLike,
    *,
    permutations: int = 999,
    seed: int = 0,
) -> MMDTest:
    """Whether two domains differ: the squared MMD against that of patients dealt out anew.

    Whole patients change sides, not rows: rows of one patient are no independent evidence. The p-value is
    ``(1 + reached) / (1 + permutations)`` and so never 0. Arguments and errors as ``mmd_squared``.

    Args:
        permutations: one at least.
        seed: of the permutations.

    Raises:
        ConfigError: no permutation.
    """
    if permutations < 1:
        raise ConfigError("a permutation test needs permutations", expected="1 or more", got=permutations)
    pooled = _pooled(source, target, source_groups, target_groups)
    observed = float(_mmd_squared(pooled, pooled.from_source[:, None])[0])
    rng, reached = np.random.default_rng(seed), 0
    for start in range(0, permutations, CHUNK):
        count = min(CHUNK, permutations - start)
        dealt = np.stack([rng.permutation(pooled.from_source) for _ in range(count)], axis=1)
        reached += int((_mmd_squared(pooled, dealt) >= observed - TIE).sum())
    return MMDTest(observed, (1 + reached) / (1 + permutations), permutations)


def root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root of a covariance ``(D, D)``, singular ones included."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def frechet_of_roots(mean: np.ndarray, rooted: np.ndarray, other_mean: np.ndarray, other_rooted: np.ndarray) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians, given square roots of their covariances.

    ``|m1 - m2|^2 + tr(S1 + S2) - 2 |S1^(1/2) S2^(1/2)|_*``: the nuclear norm is the trace of
    ``(S1^(1/2) S2 S1^(1/2))^(1/2)``, without the square root of a product that rounding makes indefinite.
    """
    shared = float(np.linalg.svd(rooted @ other_rooted, compute_uv=False).sum())
    spread = float((rooted**2).sum() + (other_rooted**2).sum())
    return max(float(((mean - other_mean) ** 2).sum()) + spread - 2 * shared, 0.0)


def frechet_squared(source: ArrayLike, target: ArrayLike) -> float:
    """Squared Frechet distance (as in FID) between Gaussians fitted to two domains, covariances by Ledoit & Wolf.

    In the features' own squared units. Not 0 for two samples of one domain, and the more so the fewer the rows:
    compare at equal N only.

    Args:
        source: ``(N, D)``.
        target: ``(M, D)``.

    Raises:
        DataError: malformed input.
    """
    first, second = checked_features(source, "source features"), checked_features(target, "target features")
    if first.shape[1] != second.shape[1]:
        raise DataError("domains of different width", expected=f"{first.shape[1]} features", got=second.shape[1])
    roots = [root(np.asarray(ledoit_wolf(rows)[0])) for rows in (first, second)]
    return frechet_of_roots(first.mean(axis=0), roots[0], second.mean(axis=0), roots[1])
