"""Several comparisons as one family."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import DataError


def holm(p_values: ArrayLike) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the order given.

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection in the family at
    alpha, whatever the dependence between the comparisons.

    Args:
        p_values: (comparisons,), each in [0, 1]; every comparison that was looked at belongs in it.

    Raises:
        DataError: not a list of numbers in [0, 1]; all bad ones are named.
    """
    try:
        values = np.asarray(p_values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("the p values are not numbers", got=str(error)) from error
    if values.ndim != 1:
        raise DataError("the p values are not a list", expected="one axis", got=str(values.shape))
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if bad.size:
        raise DataError(
            "p values out of range",
            expected="numbers in [0, 1]",
            got=", ".join(f"{values[index]} at position {index}" for index in bad),
            remedy="leave out comparisons that could not be made, and report them as such",
        )
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]
