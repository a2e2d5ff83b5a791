"""Where voxels lie: affine, spacing, equality of grids, and the affine of a stack of DICOM slices.

Every affine here is 4x4, float64, from voxel index (i, j, k) to millimetres in RAS+ (right, anterior, superior).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtl_monai.errors import GeometryError

AFFINE_ATOL_MM = 1e-3  # two affines that agree this well are one: a micrometre, far below any scanner's accuracy
SINGULAR_RTOL = 1e-6  # |det| of the unit axes below this: the axes lie in one plane
SHEAR_ATOL = 1e-3  # cosine between two axes; 0.06 degree, above float32 rounding of a stored header
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts towards left and posterior, NIfTI towards right, anterior


def spacing_of(affine: ArrayLike) -> NDArray[np.float64]:
    """Voxel size (3,) in mm along i, j, k: the lengths of the affine's first three columns."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)


def show(affine: ArrayLike) -> str:
    """The three upper rows of an affine as one line of text."""
    rows = np.asarray(affine, dtype=np.float64)[:3]
    return "[" + " | ".join(" ".join(f"{value:.5g}" for value in row) for row in rows) + "]"


def check_affine(affine: ArrayLike, *, case: str | None, path: object = None) -> None:
    """Refuse an affine that is not 4x4, not finite, or whose axes do not span space.

    Raises:
        GeometryError: naming the case, with the affine.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    place = None if path is None else str(path)
    if matrix.shape != (4, 4):
        raise GeometryError("affine has the wrong shape", case=case, path=place, expected="(4, 4)", got=matrix.shape)
    if not np.isfinite(matrix).all():
        problem, wanted = "affine is not finite", "16 finite numbers"
    elif not np.allclose(matrix[3], [0, 0, 0, 1]):
        problem, wanted = "affine's last row is wrong", "0 0 0 1"
    elif not _spans_space(matrix):
        problem, wanted = "affine is singular", "three independent axes of non-zero length"
    else:
        return
    remedy = "repair the header or export the scan again"
    raise GeometryError(problem, case=case, path=place, expected=wanted, got=show(matrix), remedy=remedy)


def _spans_space(affine: NDArray[np.float64]) -> bool:
    spacing = spacing_of(affine)
    if not (spacing > 0).all():
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / spacing)) > SINGULAR_RTOL)


def has_shear(affine: ArrayLike) -> bool:
    """Whether two voxel axes are not at right angles (beyond `SHEAR_ATOL`)."""
    axes = np.asarray(affine, dtype=np.float64)[:3, :3] / spacing_of(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_ATOL)


def same_grid(affine_a: ArrayLike, shape_a: Sequence[int], affine_b: ArrayLike, shape_b: Sequence[int]) -> bool:
    """Whether two volumes have equal shapes and affines equal within `AFFINE_ATOL_MM`."""
    return tuple(shape_a) == tuple(shape_b) and bool(np.allclose(affine_a, affine_b, rtol=0, atol=AFFINE_ATOL_MM))


def largest_displacement(affine_a: ArrayLike, affine_b: ArrayLike, shape: Sequence[int]) -> float:
    """Largest distance in mm between the places two affines give to one voxel of a volume of `shape`.

    The distance is convex in the index, so the largest one is at a corner.
    """
    corners = np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in shape[:3]))], dtype=np.float64)
    difference = np.asarray(affine_a, dtype=np.float64) - np.asarray(affine_b, dtype=np.float64)
    return float(np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max())


def slice_normal(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Unit normal (3,) of a slice, in LPS, from the six cosines of ImageOrientationPatient."""
    cosines = np.asarray(orientation, dtype=np.float64)
    normal = np.cross(cosines[:3], cosines[3:])
    return normal / np.linalg.norm(normal)


def slice_positions_affine(
    orientation: Sequence[float],
    positions: ArrayLike,
    pixel_spacing: Sequence[float],
    *,
    single_step_mm: float | None = None,
) -> NDArray[np.float64]:
    """Affine (4, 4) in RAS+ mm of slices stacked as (column, row, slice).

    Args:
        orientation: the six cosines of ImageOrientationPatient (LPS): along a row, then along a column.
        positions: (K, 3) ImagePositionPatient of every slice, in mm (LPS), in stacking order, evenly spaced.
        pixel_spacing: PixelSpacing: distance between rows, then between columns, in mm.
        single_step_mm: extent of the slice axis where K is 1.

    Raises:
        GeometryError: one slice and no `single_step_mm`.
    """
    cosines = np.asarray(orientation, dtype=np.float64)
    places = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    if len(places) > 1:
        step = (places[-1] - places[0]) / (len(places) - 1)
    elif single_step_mm is not None:
        step = slice_normal(orientation) * single_step_mm
    else:
        raise GeometryError("one slice has no slice spacing", remedy="give its thickness")
    lps = np.eye(4)
    lps[:3, 0] = cosines[:3] * pixel_spacing[1]
    lps[:3, 1] = cosines[3:] * pixel_spacing[0]
    lps[:3, 2] = step
    lps[:3, 3] = places[0]
    return LPS_TO_RAS @ lps
