"""The fingerprint holds what numpy says of arrays that the test made itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planning_data import ct_array, cube, facts, fingerprint, mask_folder, mr_array, save_nifti, save_picture

from medtl_monai.bundle.planning.case_facts import PERCENTILES, looks_like_hu
from medtl_monai.bundle.planning.data_fingerprint import edges, take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.bundle.planning.label_facts import label_facts


def test_grid_values_and_objects_of_a_case(tmp_path: Path) -> None:
    image, label = ct_array(0), cube()
    label[0, 0, 0] = 1  # a second piece, one voxel
    save_nifti(tmp_path / "images" / "a.nii.gz", image, (1, 1, 2.5))
    save_nifti(tmp_path / "labels" / "a.nii.gz", label, (1, 1, 2.5))
    case = take_fingerprint(take_inventory(tmp_path, "segmentation")).read[0]
    assert (case.shape, case.spacing, case.orientation, case.dtype) == ((20, 24, 16), (1, 1, 2.5), "RAS", "int16")
    assert case.hu_like
    assert (case.low, case.high) == (image.min(), image.max())
    assert list(case.percentiles.values()) == pytest.approx(np.percentile(image, PERCENTILES).tolist())
    inside = image[label > 0].astype(float)
    assert (case.foreground_mean, case.foreground_std) == pytest.approx((inside.mean(), inside.std()))
    row = case.labels[1]  # 65 voxels of 2.5 mm3
    assert (row.voxels, row.pieces) == (65, 2)
    assert (row.ml, row.smallest_ml, row.largest_ml) == pytest.approx((0.1625, 0.0025, 0.16))


def test_shape_and_spacing_are_along_right_anterior_superior(tmp_path: Path) -> None:
    turned = np.array([[-2.0, 0, 0, 0], [0, 0, 4.0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])  # i: L, j: I, k: A
    save_nifti(tmp_path / "images" / "a.nii.gz", mr_array(0, (10, 20, 30)), turned)
    save_nifti(tmp_path / "labels" / "a.nii.gz", cube((10, 20, 30)), turned)
    case = take_fingerprint(take_inventory(tmp_path, "segmentation")).read[0]
    assert (case.orientation, case.shape, case.spacing) == ("LIA", (10, 30, 20), (2, 4, 3))


@pytest.mark.parametrize("values", [(1, 2), (7, 100_000)])
def test_pieces_of_every_value(values: tuple[int, int]) -> None:
    label = np.zeros((8, 8, 8), np.int32)
    label[0:2, 0, 0], label[5, 5, 5], label[7, 7, :] = values[0], values[0], values[1]
    found = label_facts(label, 0.5)
    assert {value: (row.voxels, row.pieces, row.smallest_ml, row.largest_ml) for value, row in found.items()} == {
        values[0]: (3, 2, 0.5, 1.0),
        values[1]: (8, 1, 4.0, 4.0),
    }


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ct_array(1), True),
        (ct_array(1).astype(np.float32) * 1.0 + 0.25, True),
        (mr_array(1), False),
        (np.random.default_rng(0).normal(0, 1, (8, 8, 8)), False),  # an MR after its z-score
        (ct_array(1) + 1024, False),  # stored without its intercept
        (ct_array(1).astype(np.int32) * 20, False),
    ],
    ids=["CT", "fractions", "MR", "zscore", "no intercept", "scaled"],
)
def test_values_like_hu(array: np.ndarray, expected: bool) -> None:
    quantiles = dict(zip(PERCENTILES, np.percentile(array, PERCENTILES).tolist(), strict=True))
    assert looks_like_hu(array, quantiles) is expected


def test_edges_over_cases() -> None:
    assert edges([(1, 10), (2, 20), (3, 30)]) == {"p5": [1.1, 11.0], "p50": [2.0, 20.0], "p95": [2.9, 29.0]}


def test_many_cases_are_sampled_by_seed_and_it_is_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(20):
            save_picture(tmp_path / name / f"{name}{number}.png", number, (8, 8))
    found = take_inventory(tmp_path, "classification")
    first, again, other = (take_fingerprint(found, max_cases=8, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert {case.case for case in first.read} != {case.case for case in other.read}
    assert [case.label for case in first.read].count(0) == 4
    assert (first.cases, first.class_cases) == (40, {0: 20, 1: 20})
    assert "8 of 40 cases were read (seed 0)" in [finding.message for finding in first.findings]


def test_it_is_json_without_folders_of_this_machine(tmp_path: Path) -> None:
    mask_folder(tmp_path, [mr_array(n) for n in range(3)])
    (tmp_path / "images" / "case_1.nii.gz").write_bytes(b"no NIfTI")
    taken = take_fingerprint(take_inventory(tmp_path, "segmentation"))
    text = json.dumps(taken.as_dict(), allow_nan=False)
    assert str(tmp_path) not in text
    assert json.loads(text)["summary"]["spacing_mm"]["p50"] == [1, 1, 1]
    assert [finding.case for finding in taken.findings if finding.severity == "error"] == ["case_1"]


def test_a_coloured_picture_is_seen(tmp_path: Path) -> None:
    for number in range(3):
        save_picture(tmp_path / "a" / f"x{number}.png", number)
        save_picture(tmp_path / "b" / f"y{number}.png", number, coloured=number == 1)
    read = take_fingerprint(take_inventory(tmp_path, "classification")).read
    assert [case.case for case in read if case.coloured] == ["y1"]


def test_helpers_make_valid_rows() -> None:
    json.dumps(fingerprint([facts("a")]).as_dict(), allow_nan=False)
