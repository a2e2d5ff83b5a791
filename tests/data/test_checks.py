"""Every check finds its planted defect, all of them at once, and real pairs pass."""

from __future__ import annotations

import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtl_monai.data.checks import check_case, check_cases, check_leakage, require_valid_cases
from medtl_monai.data.datalist import Case, Datalist
from medtl_monai.errors import DataError, GeometryError, LabelError

SHAPE = (6, 5, 4)


def make_case(root: Path, name: str, seed: int = 0) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.uint8)
    label[2:4, 2:4, 1:3] = 1
    label[0, 0, :3] = 2
    case = {"image": str(root / f"{name}_image.nii.gz"), "label": str(root / f"{name}_label.nii.gz"), "case": name}
    save(case["image"], rng.normal(size=SHAPE).astype(np.float32))
    save(case["label"], label)
    return case


def save(path: str | Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def errors(case: dict[str, str]) -> list[tuple[str, str]]:
    findings = check_case(case, (0, 1, 2))
    assert all(finding.case == case["case"] for finding in findings)
    return [(finding.code, finding.message) for finding in findings if finding.severity == "error"]


def test_a_good_case_has_no_findings(tmp_path: Path) -> None:
    assert check_case(make_case(tmp_path, "good"), (0, 1, 2)) == []


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_missing_file_is_found(tmp_path: Path, key: str) -> None:
    case = make_case(tmp_path, "a")
    Path(case[key]).unlink()
    [(code, message)] = errors(case)
    assert code == f"{key}.missing"
    assert f"a_{key}.nii.gz" in message
    assert str(tmp_path) not in message
    del case[key]
    assert [code for code, _ in errors(case)] == [f"{key}.missing"]


def test_a_shape_mismatch_is_found_with_both_shapes(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    save(case["label"], np.ones((6, 5, 3), np.uint8))
    [(code, message)] = errors(case)
    assert code == "geometry.shape"
    assert "image (6, 5, 4)" in message
    assert "label (6, 5, 3)" in message


@pytest.mark.parametrize("affine", [np.diag([1, 1, 2.5, 1]), np.diag([-1.0, 1, 1, 1])], ids=["spacing", "mirrored"])
def test_an_affine_mismatch_is_found_with_both_affines(tmp_path: Path, affine: np.ndarray) -> None:
    case = make_case(tmp_path, "a")
    save(case["label"], np.ones(SHAPE, np.uint8), affine)
    [(code, message)] = errors(case)
    assert code == "geometry.affine"
    for matrix in (np.eye(4), affine):
        assert " | ".join(" ".join(f"{value:g}" for value in row) for row in matrix[:3]) in message


def test_unexpected_values_are_found_with_their_counts(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    for dtype in (np.uint8, np.int16, np.int32):
        label = np.ones(SHAPE, dtype)
        label[0] = 100
        label[1, 0, 0] = 7
        save(case["label"], label)
        [(code, message)] = errors(case)
        assert code == "label.unexpected_value"
        assert "7 (1 voxels), 100 (20 voxels)" in message
    save(case["label"], np.full(SHAPE, -1, np.int16))
    assert "-1 (120 voxels)" in errors(case)[0][1]


def test_an_image_as_label_gives_a_short_message(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    save(case["label"], np.arange(120, dtype=np.int16).reshape(SHAPE))
    [(_, message)] = errors(case)
    assert "and 97 more" in message
    assert len(message) < 600


def test_a_label_without_foreground_is_a_warning(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    save(case["label"], np.zeros(SHAPE, np.uint8))
    [finding] = require_valid_cases([case], (0, 1, 2))
    assert (finding.code, finding.severity, finding.case) == ("label.no_foreground", "warning", "a")


def test_unreadable_files_are_found(tmp_path: Path) -> None:
    case = make_case(tmp_path, "a")
    Path(case["image"]).write_bytes(Path(case["image"]).read_bytes()[:-200])
    label = np.ones(SHAPE, np.float32)
    label[0, 0, 0] = 1.4
    save(case["label"], label)
    found = errors(case)
    assert [code for code, _ in found] == ["format.unreadable", "label.unreadable"]
    assert "a_image.nii.gz" in found[0][1]
    assert "1.4" in found[1][1]
    assert not any(str(tmp_path) in message for _, message in found)


def spoil(case: dict[str, str], how: str) -> None:
    if how == "label":
        save(case["label"], np.full(SHAPE, 9, np.uint8))
    elif how == "geometry":
        save(case["label"], np.ones(SHAPE, np.uint8), np.diag([1, 1, 2.5, 1]))
    else:
        Path(case["image"]).write_bytes(b"no image")


@pytest.mark.parametrize(
    ("defects", "kind"),
    [
        (["label", "label"], LabelError),
        (["geometry", "geometry"], GeometryError),
        (["label", "geometry"], DataError),
        (["file", "file"], DataError),
    ],
)
def test_one_error_names_all_bad_cases(tmp_path: Path, defects: list[str], kind: type[DataError]) -> None:
    cases = [make_case(tmp_path, name) for name in ("bad_1", "sound", "bad_2")]
    for case, how in zip(cases[::2], defects, strict=True):
        spoil(case, how)
    with pytest.raises(DataError) as caught:
        require_valid_cases(cases, (0, 1, 2))
    assert type(caught.value) is kind
    text = str(caught.value)
    assert "2 of 3 cases" in text
    assert "case bad_1" in text
    assert "case bad_2" in text
    assert "sound" not in text
    assert caught.value.remedy


def test_the_list_of_bad_cases_is_cut_with_a_count() -> None:
    cases = [{"image": "no.nii", "label": "no.nii", "case": f"case{number:02d}"} for number in range(25)]
    with pytest.raises(DataError, match="and 5 more cases") as caught:
        require_valid_cases(cases, (0, 1))
    assert "case19" in str(caught.value)
    assert "case20" not in str(caught.value)


def leaky(root: Path, spoiled: bool = True) -> Datalist:
    """Case c of the test split is a in other clothes: other name, storage type, compression and position."""
    rows = {}
    for number, name in enumerate("abc"):
        array = np.random.default_rng(number).integers(0, 200, SHAPE).astype(np.uint8)
        save(root / f"{name}.nii.gz", array)
        rows[name] = Case(name, f"{name}.nii.gz", f"{name}_label.nii.gz", name)
    if spoiled:
        voxels = np.asarray(nibabel.load(root / "a.nii.gz").dataobj)
        moved = np.eye(4)
        moved[:3, 3] = (1, 2, 3)
        save(root / "c.nii", voxels.astype(np.float64), moved)
        rows["c"] = Case("c", "c.nii", "c_label.nii.gz", "c")
    splits = {"training": (rows["a"], rows["b"]), "validation": (), "test": (rows["c"],)}
    return Datalist({0: "background", 1: "organ"}, splits)


def test_a_copied_image_in_another_split_is_found(tmp_path: Path) -> None:
    [finding] = check_leakage(leaky(tmp_path), tmp_path)
    assert (finding.code, finding.severity) == ("leakage.same_voxels", "error")
    assert "a (training), c (test)" in finding.message


def test_clean_splits_have_no_leak_and_unreadable_images_are_named(tmp_path: Path) -> None:
    datalist = leaky(tmp_path, spoiled=False)
    assert check_leakage(datalist, tmp_path) == []
    (tmp_path / "b.nii.gz").unlink()
    assert [(f.code, f.case) for f in check_leakage(datalist, tmp_path)] == [("image.missing", "b")]


def test_real_pairs_pass(real_data: Path) -> None:
    root = real_data / "hippocampus_mri"
    names = sorted(path.name for path in (root / "images").glob("*.nii.gz"))
    cases = [{"image": str(root / "images" / n), "label": str(root / "labels" / n), "case": n} for n in names]
    assert len(cases) == 180
    start = time.perf_counter()
    findings = check_cases(cases, (0, 1, 2))
    print(f"{len(cases)} cases checked in {time.perf_counter() - start:.2f} s")
    assert not [finding for finding in findings if finding.severity != "info"]


def test_real_pairs_with_the_wrong_task_are_refused(real_data: Path) -> None:
    root = real_data / "hippocampus_mri"
    name = sorted(path.name for path in (root / "images").glob("*.nii.gz"))[0]
    case = {"image": str(root / "images" / name), "label": str(root / "labels" / name), "case": name}
    voxels = np.asarray(nibabel.load(case["label"]).dataobj)
    with pytest.raises(LabelError, match=rf"2 \({int((voxels == 2).sum())} voxels\)"):
        require_valid_cases([case], (0, 1))
