"""LEEP and N-LEEP: how well the source's own classes, or clusters of its features, tell the target's classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from medtl_monai.errors import DataError
from medtl_monai.transfer.scores.inputs import Sample, checked

SUM_TOLERANCE = 1e-3  # probabilities saved in half precision
ENERGY = 0.8  # share of the variance that the principal components of N-LEEP keep
ROWS_PER_COMPONENT = 2


def _leep(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> float:
    indicator = np.eye(classes)[labels]
    joint = indicator.T @ probabilities / len(labels)  # P(y, z)
    total = joint.sum(axis=0)
    conditional = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)  # P(y | z); unused z: weight 0
    expected = (probabilities * conditional[labels]).sum(axis=1)
    return float(np.log(expected).mean())


def leep(source_probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Log expected empirical prediction, at most 0. Higher: better.

    Nguyen et al. 2020, arXiv:2002.12462: the mean over rows of ``log sum_z P(y | z) theta_z(x)``, where ``P(y | z)``
    comes from the joint distribution of target labels and source classes in the same rows. Source probabilities that
    say nothing score minus the entropy of the labels (nats).

    Args:
        source_probabilities: ``(N, Z)``, the source head's probabilities; rows sum to 1.
        labels: ``(N,)`` whole numbers of the target, two classes at least.

    Raises:
        DataError: malformed input, negative values, or rows that do not sum to 1 within 1e-3.
    """
    sample = checked(source_probabilities, labels)
    sums = sample.features.sum(axis=1)
    wrong = int(((np.abs(sums - 1.0) > SUM_TOLERANCE) | (sample.features < 0).any(axis=1)).sum())
    if wrong:
        raise DataError(
            "these are not probabilities of the source's classes",
            expected="values of 0 or more, rows that sum to 1",
            got=f"{wrong} of {len(sums)} rows that are not, sums from {sums.min():.4g} to {sums.max():.4g}",
            remedy="give softmax outputs, not logits",
        )
    return _leep(sample.features / sums[:, None], sample.labels, len(sample.classes))


def _reduced(sample: Sample) -> np.ndarray:
    """Leading principal components, scaled to a mean variance of 1 (the mixture's floor on variances is absolute)."""
    if not (sample.features != sample.features[0]).any():
        raise DataError("the features do not vary", expected="at least one feature that differs between rows")
    if sample.features.shape[1] == 1:
        scores = sample.features - sample.features.mean()
    else:
        scores = PCA(n_components=ENERGY, svd_solver="full").fit_transform(sample.features)
    return scores / np.sqrt(scores.var(axis=0).mean())


def nleep(
    features: ArrayLike,
    labels: ArrayLike,
    components: int,
    seed: int,
    *,
    covariance: Literal["diag", "full"] = "diag",
) -> float:
    """LEEP with the posteriors of a Gaussian mixture in place of a source head; at most 0. Higher: better.

    Li et al. 2021, arXiv:2011.11200. The mixture is fitted to the principal components that keep 80 % of the
    variance. ``"full"`` covariances need many more rows than ``"diag"``: in few rows each component shrinks onto a
    handful of them. The mixture sees all rows, so that many components in few rows score high without information;
    compare sources at the same N and number of components.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        components: Gaussians of the mixture; the paper takes 5 per class.
        seed: of the mixture's start.
        covariance: shape of each Gaussian.

    Raises:
        DataError: malformed input, features that do not vary, or fewer than two rows per component.
    """
    sample = checked(features, labels)
    if components < 1 or len(sample.features) < ROWS_PER_COMPONENT * components:
        raise DataError(
            "the mixture does not fit these rows",
            expected=f"1 to {len(sample.features) // ROWS_PER_COMPONENT} components for {len(sample.features)} rows",
            got=components,
        )
    scores = _reduced(sample)
    mixture = GaussianMixture(components, covariance_type=covariance, random_state=seed, max_iter=300)
    return _leep(mixture.fit(scores).predict_proba(scores), sample.labels, len(sample.classes))
