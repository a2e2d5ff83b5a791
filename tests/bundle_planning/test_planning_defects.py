"""Planted defects: each is found, all at once, with case and remedy."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from planning_data import ct_array, cube, facts, fingerprint, mask_folder, mr_array, save_nifti, save_picture

from medtl_monai.bundle.planning.data_fingerprint import take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import make_plan
from medtl_monai.data.phantom import make_phantom, write_dicom_series
from medtl_monai.errors import DataError, GeometryError, LabelError


def refusal(root: Path, task: str = "segmentation", **options: object) -> str:
    """The text with which a plan for a folder is refused."""
    with pytest.raises(DataError) as caught:
        make_plan(take_fingerprint(take_inventory(root, task)), PlanOptions(**options))  # type: ignore[arg-type]
    return str(caught.value)


def test_everything_at_once(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(6)])
    (tmp_path / "labels" / "case_0.nii.gz").unlink()
    save_nifti(tmp_path / "labels" / "case_1.nii.gz", cube(), (1, 1, 2))
    save_nifti(tmp_path / "images" / "case_2.nii.gz", np.stack([ct_array(2)] * 3, axis=-1), np.eye(4))
    for kind, array in (("images", ct_array(3)), ("labels", cube())):
        save_nifti(tmp_path / kind / "case_3.nii.gz", array, (1, 1, 1000))
    save_nifti(tmp_path / "images" / "case_4.nii.gz", mr_array(4))
    lines = refusal(tmp_path).splitlines()
    assert lines[0] == "5 things stand against a plan for these data:"
    for case, problem, remedy in (
        ("case_0", "image without label", "add it to labels/"),
        ("case_1", "different affines", "resample the label"),
        ("case_2", "", ""),
        ("case_3", "voxel size 1000 mm along superior", "correct the header"),
        ("case_4", "values from 50 to", "keep one modality"),
    ):
        line = next(line for line in lines if f"case {case}:" in line)
        assert problem in line
        assert remedy in line


def test_four_axes_are_named(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    nib.save(nib.Nifti1Image(np.stack([ct_array(1)] * 2, axis=-1), np.eye(4)), tmp_path / "images" / "case_1.nii.gz")
    text = refusal(tmp_path)
    assert "1 thing stands against" in text
    assert "(20, 24, 16, 2)" in text


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_patients_says_how_many(tmp_path: Path, number: int) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(number)])
    assert f"too few patients for a split: {number}, needed are 3; label {3 - number} more" in refusal(tmp_path)


def test_too_few_of_a_class_and_one_class(tmp_path: Path) -> None:
    for number in range(5):
        save_picture(tmp_path / "many" / f"m{number}.png", number)
    for number in range(2):
        save_picture(tmp_path / "few" / f"f{number}.png", number)
    text = refusal(tmp_path, "classification")
    assert "too few patients of class 0 (few) for a split: 2, needed are 3; label 1 more" in text
    table = "image,class\n" + "".join(f"many/m{n}.png,a\n" for n in range(5))
    (tmp_path / "t.csv").write_text(table)
    assert "all 5 cases are of one class: a; add cases of another class" in refusal(tmp_path, "classification")


def test_empty_labels(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    for number in range(3):
        save_nifti(tmp_path / "labels" / f"case_{number}.nii.gz", np.zeros((20, 24, 16), np.uint8))
    with pytest.raises(LabelError, match="none of the 3 labels read has any foreground"):
        make_plan(take_fingerprint(take_inventory(tmp_path, "segmentation")), PlanOptions())


def test_an_unknown_label_value(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    save_nifti(tmp_path / "labels" / "case_2.nii.gz", cube(value=9))
    found = take_inventory(tmp_path, "segmentation", names={0: "background", 1: "organ"})
    with pytest.raises(LabelError, match=r"case case_2: unexpected label values 9 \(64 voxels\)"):
        make_plan(take_fingerprint(found), PlanOptions())


def test_modality_has_to_be_known(tmp_path: Path) -> None:
    mask_folder(tmp_path, [mr_array(n) for n in range(3)])
    text = refusal(tmp_path)
    assert "nothing tells the modality: 0 of 3" in text
    assert "--modality ct or --modality mri" in text


def test_modality_against_the_values(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    assert refusal(tmp_path, modality="mri").count("mri is stated, and these values look like HU") == 3
    eight_bit = [facts(f"c{n}", low=0.0, high=255.0) for n in range(3)]
    with pytest.raises(DataError, match="ct is stated, and these values cannot be HU: 0 to 255"):
        make_plan(fingerprint(eight_bit), PlanOptions(modality="ct"))


def test_dicom_modalities_must_agree(tmp_path: Path) -> None:
    for number in range(3):
        phantom = make_phantom(number, shape=(18, 16, 18))
        files = write_dicom_series(phantom, tmp_path / "images" / f"p{number}", seed=number)
        save_nifti(tmp_path / "labels" / f"p{number}.nii.gz", phantom.label, phantom.affine)
        if number == 1:
            for file in files:
                dataset = pydicom.dcmread(file)
                dataset.Modality = "PT"
                dataset.save_as(file)
    assert "case p1: DICOM Modality PT, where 2 cases have MR; keep one modality" in refusal(tmp_path)
    assert "case p1: mri is stated, the DICOM Modality is PT" in refusal(tmp_path, modality="mri")


def test_pictures_and_scans_and_slices_are_not_mixed() -> None:
    flat = [facts(f"c{n}") for n in range(3)] + [facts("slice", (64, 64, 1))]
    with pytest.raises(GeometryError, match=r"case slice: a single slice, where the others are volumes"):
        make_plan(fingerprint(flat), PlanOptions(modality="mri"))
    mixed = [facts(f"c{n}", (64, 64, 1)) for n in range(3)] + [facts("p", (64, 64), picture=True, spacing=None)]
    with pytest.raises(DataError, match="a scan, where others are PNG or JPEG"):
        make_plan(fingerprint(mixed), PlanOptions(modality="mri"))


def test_spacings_up_to_ten_times_apart_are_allowed() -> None:
    cases = [facts(f"c{n}", spacing=(1.0, 1.0, edge)) for n, edge in enumerate((2.0, 2.0, 1.0, 10.0))]
    make_plan(fingerprint(cases), PlanOptions(modality="mri"))
    cases.append(facts("far", spacing=(1.0, 1.0, 10.5)))
    with pytest.raises(GeometryError, match=r"case far: voxel size 10\.5 mm along superior"):
        make_plan(fingerprint(cases), PlanOptions(modality="mri"))


def test_a_nifti_label_that_is_turned_beside_a_nifti_image_stays_an_error(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    save_nifti(tmp_path / "labels" / "case_0.nii.gz", cube()[::-1], np.diag([-1.0, 1, 1, 1]))
    assert "case case_0: image and label have different affines" in refusal(tmp_path)
