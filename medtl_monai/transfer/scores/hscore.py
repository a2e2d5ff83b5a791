"""H-score: how much of the features' variation lies between the classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.covariance import ledoit_wolf

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.inputs import checked

Covariance = Literal["ledoit_wolf", "empirical"]
CONDITION_LIMIT = 1e12


def _empirical(centred: np.ndarray, classes: int) -> np.ndarray:
    rows, width = centred.shape
    if rows < width + classes:
        raise DataError(
            "too few rows for the empirical covariance",
            expected=f"{width + classes} rows at least for {width} features and {classes} classes",
            got=rows,
            remedy="use covariance='ledoit_wolf'",
        )
    covariance = centred.T @ centred / rows
    if np.linalg.cond(covariance) > CONDITION_LIMIT:
        raise DataError(
            "the covariance of the features cannot be inverted",
            expected="features that are not constant and not combinations of others",
            remedy="use covariance='ledoit_wolf' or drop such features",
        )
    return covariance


def h_score(features: ArrayLike, labels: ArrayLike, *, covariance: Covariance = "ledoit_wolf") -> float:
    """``tr(cov(f)^-1 cov(E[f | y]))``, between 0 and C - 1. Higher: better.

    - ``"ledoit_wolf"``: ``tr(S_s^-1 (1 - s) cov(E[f | y]))`` with the covariance ``S_s`` shrunk by ``s`` towards a
      multiple of the identity (Ibrahim et al. 2021, arXiv:2110.06893). For any N; depends on the relative scale of
      the features.
    - ``"empirical"``: Bao et al. 2019. For N much larger than D only: features without information score
      (C - 1) D / N or so. Unchanged by any invertible linear map of the features.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, C >= 2 classes.
        covariance: see above.

    Raises:
        DataError: malformed input, features that do not vary, or an empirical covariance that cannot be inverted.
        ConfigError: an unknown covariance.
    """
    sample = checked(features, labels)
    centred = sample.features - sample.features.mean(axis=0)
    if not centred.any():
        raise DataError("the features do not vary", expected="at least one feature that differs between rows")
    shares = sample.counts / len(centred)
    means = np.stack([centred[sample.labels == code].mean(axis=0) for code in range(len(shares))])
    if covariance == "empirical":
        total, factor = _empirical(centred, len(shares)), 1.0
    elif covariance == "ledoit_wolf":
        total, shrinkage = ledoit_wolf(centred, assume_centered=True)
        factor = 1.0 - float(shrinkage)
    else:
        raise ConfigError("unknown covariance", expected="'ledoit_wolf' or 'empirical'", got=repr(covariance))
    return factor * float((shares[:, None] * means * np.linalg.solve(total, means.T).T).sum())
