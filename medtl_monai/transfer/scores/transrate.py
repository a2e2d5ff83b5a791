"""TransRate: the coding rate of the features less that of the features within the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.transfer.scores.inputs import checked

EPSILON = 1e-4


def coding_rate(centred: np.ndarray, eps: float) -> float:
    """``1/2 log det(I + Z'Z / (n eps))`` of rows ``(n, D)`` with mean zero, in nats."""
    singular = np.linalg.svd(centred, compute_uv=False)
    return 0.5 * float(np.log1p(singular**2 / (len(centred) * eps)).sum())


def transrate(features: ArrayLike, labels: ArrayLike, eps: float = EPSILON) -> float:
    """``R(Z) - sum_c n_c/n R(Z_c)`` in nats, 0 or more. Higher: better.

    After Huang et al. 2022 (arXiv:2106.09362), with three differences from the code in the paper:

    - classes count by their share ``n_c / n``, not by ``1 / C``, which rewards imbalance;
    - each class is centred on its own mean. Around the common mean two equally frequent classes have the same second
      moments wherever they lie, and their distance adds nothing to the score;
    - the features are scaled to a mean variance of 1, so that ``eps`` means the same for every source.

    Features without information approach 0 only where every class has many more rows than there are features; with
    fewer, the score mostly reports the rank that a class cannot reach. Reduce the features first (the same number of
    principal components for every source), or take another score.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` whole numbers, two classes at least.
        eps: squared distortion as a share of the mean variance of the features, above 0.

    Raises:
        DataError: malformed input, or features that do not vary.
        ConfigError: ``eps`` not above 0.
    """
    if not eps > 0:
        raise ConfigError("the distortion of a coding rate is positive", expected="eps > 0", got=eps)
    sample = checked(features, labels)
    centred = sample.features - sample.features.mean(axis=0)
    variance = float((centred**2).mean())
    if variance == 0:
        raise DataError("the features do not vary", expected="at least one feature that differs between rows")
    scaled = centred / np.sqrt(variance)
    score = coding_rate(scaled, eps)
    for code, count in enumerate(sample.counts):
        rows = scaled[sample.labels == code]
        score -= count / len(scaled) * coding_rate(rows - rows.mean(axis=0), eps)
    return score
