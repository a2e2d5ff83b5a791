"""Every layout that a user may bring is found; what does not fit is explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planning_data import ct_array, cube, mask_folder, mr_array, save_nifti, save_picture

from medtl_monai.bundle.planning.data_fingerprint import take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import make_plan
from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.classification_cases import class_inference_cases
from medtl_monai.data.datalist import Datalist
from medtl_monai.data.phantom import make_phantom, write_dicom_series
from medtl_monai.errors import ConfigError, DataError


def test_pairs_of_nifti_files_with_the_values_in_the_labels(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(4)])
    save_nifti(tmp_path / "labels" / "case_2.nii.gz", cube(value=3))
    found = take_inventory(tmp_path, "segmentation")
    assert [case.case for case in found.cases] == [f"case_{n}" for n in range(4)]
    assert found.names == {0: "background", 1: "label_1", 3: "label_3"}
    made = found.datalist(validation=0.25, test=0.25)
    assert isinstance(made, Datalist)
    assert {name: len(rows) for name, rows in made.splits.items()} == {"training": 2, "validation": 1, "test": 1}


@pytest.mark.parametrize("labels", [{"0": "background", "1": "left kidney"}, {"background": 0, "left kidney": 1}])
def test_the_decathlons_folders_and_both_ways_to_write_their_label_names(tmp_path: Path, labels: dict) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)], folders=("imagesTr", "labelsTr"))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    found = take_inventory(tmp_path, "segmentation")
    assert found.names == {0: "background", 1: "left kidney"}
    made = found.datalist(validation=0.3, test=0.3)
    assert all(case.image.startswith("imagesTr/") for rows in made.splits.values() for case in rows)
    plan = make_plan(take_fingerprint(found), PlanOptions(name="kidney"))
    assert plan.flips.value == []
    assert "left kidney" in plan.flips.reason


def test_dicom_series_with_labels_whose_axes_a_converter_turned(tmp_path: Path) -> None:
    for number in range(3):
        phantom = make_phantom(number, shape=(24, 26, 22))
        write_dicom_series(phantom, tmp_path / "images" / f"p{number}", seed=number)
        save_nifti(tmp_path / "labels" / f"p{number}.nii.gz", phantom.label, phantom.affine)
    taken = take_fingerprint(take_inventory(tmp_path, "segmentation"))
    assert not [finding for finding in taken.findings if finding.severity == "error"]
    first = taken.read[0]
    assert (first.shape, first.modality) == ((24, 26, 22), "MR")
    label = make_phantom(0, shape=(24, 26, 22)).label
    assert {value: row.voxels for value, row in first.labels.items()} == {v: int((label == v).sum()) for v in (1, 2)}
    inside = make_phantom(0, shape=(24, 26, 22)).image.round()[label > 0]
    assert first.foreground_mean == pytest.approx(inside.mean(), rel=1e-3)  # the turned label lies on its object
    assert make_plan(taken, PlanOptions()).modality.value == "mri"


def test_a_folder_per_class_of_pictures(tmp_path: Path) -> None:
    for name in ("normal", "sick"):
        for number in range(5):
            save_picture(tmp_path / name / f"{name}{number}.png", number)
    found = take_inventory(tmp_path, "classification")
    assert (found.layout, found.names, len(found.cases)) == ("a folder per class", {0: "normal", 1: "sick"}, 10)
    made = found.datalist(validation=0.2, test=0.2)
    assert isinstance(made, ClassificationDatalist)
    assert {name: len(rows) for name, rows in made.splits.items()} == {"training": 6, "validation": 2, "test": 2}


def test_a_folder_per_class_of_dicom_series(tmp_path: Path) -> None:
    for number in range(6):
        phantom = make_phantom(number, shape=(18, 16, 18))
        write_dicom_series(phantom, tmp_path / ("a", "b")[number % 2] / f"p{number}", seed=number)
    taken = take_fingerprint(take_inventory(tmp_path, "classification"))
    assert [(case.case, case.label, case.shape) for case in taken.read[:2]] == [
        ("p0", 0, (18, 16, 18)),
        ("p1", 1, (18, 16, 18)),
    ]
    plan = make_plan(taken, PlanOptions())
    assert (plan.dimensions.value, plan.modality.value, plan.image_size.value) == (3, "mri", [16, 16, 16])
    assert [case["case"] for case in class_inference_cases(str(tmp_path / "a"))] == ["p0", "p2", "p4"]


def test_dicom_series_beside_each_other_need_a_table(tmp_path: Path) -> None:
    for number in range(6):
        write_dicom_series(make_phantom(number, shape=(18, 16, 18)), tmp_path / f"p{number}", seed=number)
    with pytest.raises(DataError, match=r"the 6 folders hold one DICOM series each: cases"):
        take_inventory(tmp_path, "classification")
    (tmp_path / "truth.csv").write_text("scan,diagnosis\n" + "".join(f"p{n},{'ab'[n % 2]}\n" for n in range(6)))
    found = take_inventory(tmp_path, "classification")
    assert [(case.image, case.label) for case in found.cases[:2]] == [("p0", 0), ("p1", 1)]


def test_a_table_with_columns_of_its_own(tmp_path: Path) -> None:
    for number in range(6):
        save_picture(tmp_path / "images" / f"{number:03d}.png", number)
    lines = [f"{number:03d}, {number % 2 + 1}, pat{number // 2}\n" for number in range(5)]
    (tmp_path / "labels.csv").write_text("id, hemorrhage, subject_id\n" + "".join(lines))
    found = take_inventory(tmp_path, "classification")
    assert found.names == {0: "class_1", 1: "class_2"}
    assert [(case.image, case.label, case.patient) for case in found.cases[:3]] == [
        ("images/000.png", 0, "pat0"),
        ("images/001.png", 1, "pat0"),
        ("images/002.png", 0, "pat1"),
    ]
    assert [finding.message for finding in found.findings] == ["1 images are in no line of the table: 005.png"]
    with pytest.raises(ConfigError, match="patients are given twice"):
        take_inventory(tmp_path, "classification", patient_pattern="(.)")


def test_all_wrong_lines_of_a_table_are_findings(tmp_path: Path) -> None:
    for number in range(3):
        save_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "t.csv").write_text("image,class\n0.png,a\n0.png,b\n\n1.png,\nnone.png,a\n../t.csv,b\n2.png,b\n")
    found = take_inventory(tmp_path, "classification")
    errors = {(finding.code, finding.case) for finding in found.findings if finding.severity == "error"}
    assert errors == {
        ("table.duplicate", "0"),
        ("label.missing", "1.png"),
        ("image.missing", "none.png"),
        ("image.missing", "t.csv"),
    }
    assert "line 5: no class" in [finding.message for finding in found.findings]


def test_columns_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 0)
    (tmp_path / "t.csv").write_text("image,age,sex\na.png,3,m\n")
    with pytest.raises(DataError, match=r"t\.csv: the columns do not tell .* got 'image', 'age', 'sex'"):
        take_inventory(tmp_path, "classification")


def test_a_datalist_comes_first_and_keeps_its_splits(tmp_path: Path) -> None:
    mask_folder(tmp_path, [mr_array(n) for n in range(5)])
    made = take_inventory(tmp_path, "segmentation", names={0: "background", 1: "cube"}).datalist(
        validation=0.2, test=0.2, seed=3
    )
    made.save(tmp_path / "datalist.json")
    for data in (tmp_path, tmp_path / "datalist.json"):
        found = take_inventory(data, "segmentation")
        assert found.datalist(validation=0.4, test=0.4) == made
    plan = make_plan(take_fingerprint(found), PlanOptions(modality="mri"))
    assert plan.split.value == {"given": True}
    assert "3 training, 1 validation, 1 test" in plan.split.reason
    with pytest.raises(ConfigError, match="of another task"):
        take_inventory(tmp_path, "classification")


def test_when_nothing_fits_everything_tried_is_told(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with pytest.raises(DataError) as caught:
        take_inventory(tmp_path, "segmentation")
    text = str(caught.value)
    for line in ("datalist.json: not there", "images/ with labels/: no folder images", "imagesTr/ with labelsTr/: no"):
        assert line in text
    with pytest.raises(DataError, match=r"a table \(CSV\).*: no file \*\.csv in this folder\n  a folder per class: "):
        take_inventory(tmp_path, "classification")


def test_image_and_label_folders_are_no_classes(tmp_path: Path) -> None:
    mask_folder(tmp_path, [ct_array(n) for n in range(3)])
    with pytest.raises(DataError, match="folders that are no classes: images, labels"):
        take_inventory(tmp_path, "classification")


def test_patients_by_pattern(tmp_path: Path) -> None:
    for number in range(6):
        save_nifti(tmp_path / "images" / f"p{number // 2}_{number}.nii.gz", mr_array(number))
        save_nifti(tmp_path / "labels" / f"p{number // 2}_{number}.nii.gz", cube())
    found = take_inventory(tmp_path, "segmentation", patient_pattern="^(p[0-9])_")
    assert sorted({case.patient for case in found.cases}) == ["p0", "p1", "p2"]
    splits = found.datalist(validation=0.3, test=0.3).splits
    assert {name: len({case.patient for case in rows}) for name, rows in splits.items()} == {
        "training": 1,
        "validation": 1,
        "test": 1,
    }
