"""Affines and slice stacks against formulas, nibabel and planted defects."""

from __future__ import annotations

from itertools import permutations, product

import defects
import nibabel as nib
import numpy as np
import pytest

from medtl_monai.errors import GeometryError
from medtl_monai.io import geometry, stack
from medtl_monai.io.volume import Volume


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """Proper rotation from three Euler angles in radians."""
    return nib.eulerangles.euler2mat(*angles)


def test_spacing_is_the_voxel_size_that_was_put_in() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((0.3, -0.2, 1.1)) @ np.diag([0.7, 0.8, 2.5])
    np.testing.assert_allclose(geometry.spacing_of(matrix), [0.7, 0.8, 2.5], atol=1e-12)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_all_48_orientations_are_accepted(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(order)] * signs * np.array([0.5, 1.0, 3.0])
    geometry.check_affine(matrix, case="c")
    assert not geometry.has_shear(matrix)


def bad_affines() -> dict[str, np.ndarray]:
    nan, flat, coplanar, last = np.eye(4), np.diag([1.0, 1.0, 0.0, 1.0]), np.eye(4), np.eye(4)
    nan[0, 3] = np.nan
    coplanar[:3, 2] = [1.0, 1.0, 0.0]
    last[3, 0] = 1.0
    return {"not finite": nan, "singular": flat, "is singular": coplanar, "last row": last, "shape": np.eye(3)}


@pytest.mark.parametrize("problem", list(bad_affines()))
def test_bad_affine_is_refused_with_the_case(problem: str) -> None:
    with pytest.raises(GeometryError, match=f"case liver_017: .*{problem}"):
        geometry.check_affine(bad_affines()[problem], case="liver_017")


def test_shear_is_seen() -> None:
    sheared = np.eye(4)
    sheared[0, 2] = 0.01
    assert geometry.has_shear(sheared)


def test_same_grid_needs_shape_and_affine() -> None:
    moved, near = np.eye(4), np.eye(4)
    moved[0, 3], near[0, 3] = 2e-3, 5e-4
    assert geometry.same_grid(np.eye(4), (2, 3, 4), near, (2, 3, 4))
    assert not geometry.same_grid(np.eye(4), (2, 3, 4), moved, (2, 3, 4))
    assert not geometry.same_grid(np.eye(4), (2, 3, 4), np.eye(4), (2, 3, 5))


def test_largest_displacement_equals_brute_force() -> None:
    rng = np.random.default_rng(3)
    first, second = np.eye(4), np.eye(4)
    first[:3], second[:3] = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    shape = (4, 5, 6)
    index = np.stack([*np.indices(shape).reshape(3, -1), np.ones(120)])
    brute = np.linalg.norm(((first - second) @ index)[:3], axis=0).max()
    assert geometry.largest_displacement(first, second, shape) == pytest.approx(brute)


def test_affine_follows_the_dicom_formula() -> None:
    """PS3.3 C.7.6.2.1.1: P = position + column * d_column * row_cosine + row * d_row * column_cosine, in LPS."""
    turn = rotation((0.2, 0.5, -0.4))
    orientation = [*turn[:, 0], *turn[:, 1]]
    positions = np.array([5.0, -7.0, 11.0]) + np.outer(np.arange(4) * 2.5, turn[:, 2])
    affine = geometry.slice_positions_affine(orientation, positions, (0.8, 0.7))
    for column, row, number in product((0, 3), (0, 2), range(4)):
        lps = positions[number] + column * 0.7 * turn[:, 0] + row * 0.8 * turn[:, 1]
        np.testing.assert_allclose(affine @ [column, row, number, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-9)
    assert np.linalg.det(affine[:3, :3]) > 0


def test_one_slice_needs_a_step() -> None:
    with pytest.raises(GeometryError, match="no slice spacing"):
        geometry.slice_positions_affine(defects.AXIAL, [[0, 0, 0]], (1, 1))
    affine = geometry.slice_positions_affine(defects.AXIAL, [[0, 0, 0]], (1, 1), single_step_mm=4.0)
    assert geometry.spacing_of(affine)[2] == 4.0


def test_even_spacing_within_one_percent_passes() -> None:
    stack.check_even_spacing([0, 2.5, 5.02, 7.5], case="c")
    stack.check_even_spacing([0, 2.5], case="c")


@pytest.mark.parametrize(
    ("distances", "total", "where"),
    [
        ([0, 2.5, 7.5, 10.0], "1 slice is missing", "between slices 2 and 3"),
        ([0, 2.5, 7.5], "1 slice is missing", "between slices 2 and 3"),
        ([0, 2.5, 5.0, 12.5, 15, 20], "3 slices are missing", r"between slices 3 and 4 \(2 missing\).*5 and 6"),
    ],
)
def test_holes_are_counted_and_placed(distances: list[float], total: str, where: str) -> None:
    with pytest.raises(GeometryError, match=f"case c: {total}; expected 2.5 mm.*{where}"):
        stack.check_even_spacing(distances, case="c")


def test_uneven_spacing_is_refused_with_its_range() -> None:
    with pytest.raises(GeometryError, match=r"unevenly spaced.*2.5 to 3.4 mm.*between slices 3 and 4"):
        stack.check_even_spacing([0, 2.5, 5.0, 8.4, 10.9], case="c")


def test_duplicates_are_grouped() -> None:
    assert stack.duplicate_groups([0.0, 5.0, 2.5, 5.0004, 0.0]) == [[0, 4], [1, 3]]


@pytest.mark.parametrize("degrees", [1.0, 15.0])
def test_tilt_is_refused_with_its_angle(degrees: float) -> None:
    shift = np.tan(np.radians(degrees))
    positions = [[0, -z * shift, z] for z in np.arange(10) * 2.5]
    with pytest.raises(GeometryError, match=f"angle of {degrees:.2f} degrees"):
        stack.check_straight(defects.AXIAL, positions, (0.7, 0.7), case="c")


def test_rounded_positions_are_straight() -> None:
    positions = [[0.01 * (n % 2), 0, 2.5 * n] for n in range(10)]
    stack.check_straight(defects.AXIAL, positions, (0.7, 0.7), case="c")


def test_volume_refuses_what_is_not_a_volume() -> None:
    with pytest.raises(GeometryError, match="case c: not a 3-D volume"):
        Volume(np.zeros((2, 2)), np.eye(4), "c")
    with pytest.raises(GeometryError, match="case c: affine is singular"):
        Volume(np.zeros((2, 2, 2)), np.diag([1.0, 0, 1, 1]), "c")
    np.testing.assert_allclose(Volume(np.zeros((2, 2, 2)), defects.AFFINE, "c").spacing, [1.5, 2, 3])
