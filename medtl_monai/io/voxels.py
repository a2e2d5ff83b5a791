"""Whether voxel values can be an image or a label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtl_monai.errors import IntensityError, LabelError
from medtl_monai.findings import Finding

LABEL_ATOL = 1e-3  # a label further than this from a whole number was interpolated, not rounded
FLOAT32_EXACT = 2**24  # largest range of whole numbers that float32 holds exactly (24-bit significand)


def check_finite(array: NDArray[np.generic], *, case: str, path: Path) -> None:
    """Refuse NaN and infinite voxels.

    Raises:
        IntensityError: with the count of each.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):  # a finite sum proves all finite, at no extra memory
        if np.isfinite(array.sum(dtype=np.float64)):
            return
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    if nan + inf == 0:
        return
    raise IntensityError(
        "voxels are not finite",
        case=case,
        path=path,
        expected="finite values only",
        got=f"{nan} NaN and {inf} infinite of {array.size} voxels",
        remedy="find the step that produced them, or replace them by a chosen value and save the image again",
    )


def check_image(array: NDArray[np.generic], *, case: str, path: Path) -> list[Finding]:
    """Check the values of an image.

    Returns:
        Findings: a warning where whole numbers do not fit float32.

    Raises:
        IntensityError: a voxel is NaN or infinite, or all voxels have one value (nothing to see).
    """
    check_finite(array, case=case, path=path)
    low, high = array.min(), array.max()
    if low == high:
        raise IntensityError(
            "no foreground: every voxel has the same value",
            case=case,
            path=path,
            expected="an image",
            got=f"minimum {low}, maximum {high}",
            remedy="export the scan again or leave the case out",
        )
    largest = max(abs(int(low)), abs(int(high))) if array.dtype.kind in "iu" else 0
    if largest <= FLOAT32_EXACT:
        return []
    message = f"{array.dtype} image reaches {largest}; float32 holds whole numbers up to {FLOAT32_EXACT} exactly"
    return [Finding("image.wide_integers", "warning", message, "values are rounded where float32 is used", case)]


def as_labels(array: NDArray[np.generic], *, case: str, path: Path) -> tuple[NDArray[np.generic], list[Finding]]:
    """Label values as whole numbers, in the smallest sufficient integer type where the input is not integer.

    Returns:
        the labels, and a Finding where they were stored as floating point.

    Raises:
        IntensityError: a voxel is NaN or infinite.
        LabelError: a value is further than `LABEL_ATOL` from a whole number, or beyond the 32-bit range.
    """
    if array.dtype.kind in "iu":
        return array, []
    check_finite(array, case=case, path=path)
    rounded = np.rint(array)
    distance = np.abs(array - rounded)
    worst = np.unravel_index(int(distance.argmax()), array.shape)
    if distance[worst] > LABEL_ATOL:
        raise LabelError(
            "labels are not whole numbers",
            case=case,
            path=path,
            expected=f"whole numbers within {LABEL_ATOL}",
            got=f"{array[worst]:.6g} at voxel {tuple(int(i) for i in worst)}; "
            f"{int((distance > LABEL_ATOL).sum())} voxels off",
            remedy="resample labels with nearest neighbour",
        )
    dtype = _label_dtype(float(rounded.min()), float(rounded.max()), case, path)
    message = f"labels stored as {array.dtype}, largest distance from a whole number {float(distance[worst]):.2g}"
    return rounded.astype(dtype), [Finding("label.rounded", "info", message, f"rounded to {dtype}", case)]


def _label_dtype(low: float, high: float, case: str, path: Path) -> np.dtype[np.generic]:
    for name in ("uint8", "int16", "int32"):
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    got = f"{low:.6g} to {high:.6g}"
    raise LabelError("labels are out of range", case=case, path=path, expected="32-bit whole numbers", got=got)
