"""Whether DICOM slices form one straight, evenly spaced stack without holes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtl_monai.errors import GeometryError
from medtl_monai.io.geometry import slice_normal

SPACING_RTOL = 1e-2  # slice distances may differ by 1 %, the default of highdicom and dicom-numpy
DUPLICATE_ATOL_MM = 1e-3  # two slices closer than this are at one position
GAP_RTOL = 5e-2  # a distance within 5 % of a whole multiple of the usual one is a hole, not uneven spacing
SHIFT_MAX_PIXELS = 0.1  # in-plane drift over the whole stack; a tilted gantry drifts by many pixels
MAX_SHOWN = 5  # places listed in one message


def slice_distances(orientation: Sequence[float], positions: ArrayLike) -> NDArray[np.float64]:
    """Distance (K,) in mm of every slice from the origin along the slice normal."""
    return np.asarray(positions, dtype=np.float64).reshape(-1, 3) @ slice_normal(orientation)


def duplicate_groups(distances: ArrayLike) -> list[list[int]]:
    """Indices of slices that share one position, one list per position that has more than one slice."""
    values = np.asarray(distances, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order]) > DUPLICATE_ATOL_MM) + 1
    return [sorted(int(i) for i in group) for group in np.split(order, cuts) if len(group) > 1]


def check_even_spacing(distances: ArrayLike, *, case: str | None, path: object = None) -> None:
    """Refuse holes and uneven spacing.

    Args:
        distances: (K,) ascending distances along the normal, in mm, all different.

    Raises:
        GeometryError: where slices are missing and how many, or the least and largest spacing and where.
    """
    steps = np.diff(np.asarray(distances, dtype=np.float64))
    if len(steps) < 2:
        return
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # lower median: a hole among few slices does not move it
    odd = np.flatnonzero(np.abs(steps - usual) > SPACING_RTOL * usual)
    if len(odd) == 0:
        return
    multiples = steps[odd] / usual
    counts = np.rint(multiples)
    place = None if path is None else str(path)
    if (counts >= 2).all() and (np.abs(multiples - counts) <= GAP_RTOL * counts).all():
        _refuse_holes(steps, odd, (counts - 1).astype(int), usual, case, place)
    raise GeometryError(
        "slices are unevenly spaced",
        case=case,
        path=place,
        expected=f"{usual:.4g} mm everywhere, within {SPACING_RTOL:.0%}",
        got=f"{steps.min():.4g} to {steps.max():.4g} mm; first odd one {_between(odd[0])}",
        remedy="export the series again with even spacing, or resample it to an even spacing first",
    )


def _refuse_holes(
    steps: NDArray[np.float64],
    odd: NDArray[np.intp],
    missing: NDArray[np.int_],
    usual: float,
    case: str | None,
    path: str | None,
) -> None:
    holes = [f"{steps[i]:.4g} mm {_between(i)} ({n} missing)" for i, n in zip(odd, missing, strict=True)]
    more = f" and {len(holes) - MAX_SHOWN} more" if len(holes) > MAX_SHOWN else ""
    total = int(missing.sum())
    raise GeometryError(
        f"{total} slice{'s are' if total > 1 else ' is'} missing",
        case=case,
        path=path,
        expected=f"{usual:.4g} mm between neighbours",
        got=", ".join(holes[:MAX_SHOWN]) + more,
        remedy="export the whole series again",
    )


def _between(index: int) -> str:
    return f"between slices {index + 1} and {index + 2}"


def check_straight(
    orientation: Sequence[float],
    positions: ArrayLike,
    pixel_spacing: Sequence[float],
    *,
    case: str | None,
    path: object = None,
) -> None:
    """Refuse a stack whose slices are shifted in their plane, as a tilted CT gantry does.

    Args:
        orientation: six cosines of ImageOrientationPatient.
        positions: (K, 3) ImagePositionPatient in stacking order, mm.
        pixel_spacing: PixelSpacing in mm.

    Raises:
        GeometryError: with the angle in degrees and the largest shift in mm.
    """
    normal = slice_normal(orientation)
    offsets = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    offsets = offsets - offsets[0]
    along = offsets @ normal
    shifts = np.linalg.norm(offsets - along[:, None] * normal, axis=1)
    worst = int(shifts.argmax())
    if shifts[worst] <= SHIFT_MAX_PIXELS * min(pixel_spacing):
        return
    angle = float(np.degrees(np.arctan2(shifts[worst], abs(along[worst]))))
    raise GeometryError(
        "slices are shifted in their plane (gantry tilt?)",
        case=case,
        path=None if path is None else str(path),
        expected="every slice straight above the one before",
        got=f"an angle of {angle:.2f} degrees, {shifts[worst]:.3g} mm at slice {worst + 1} of {len(shifts)}",
        remedy="correct the tilt by resampling (for example with dcm2niix) and read the result",
    )
