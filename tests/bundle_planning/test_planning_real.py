"""Plans for real scans, where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtl_monai.bundle.planning.data_fingerprint import summary, take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import make_plan


def test_mednist_as_class_folders(real_data: Path) -> None:
    taken = take_fingerprint(take_inventory(real_data / "mednist", "classification"), max_cases=24)
    assert taken.class_cases == dict.fromkeys(range(6), 500)
    plan = make_plan(taken, PlanOptions())
    assert (plan.dimensions.value, plan.modality.value, plan.image_size.value) == (2, "picture", 64)
    assert plan.network.value == "classifier_resnet18"
    assert "random weights" in plan.source.reason


def test_head_ct_slices_with_their_table(real_data: Path) -> None:
    taken = take_fingerprint(take_inventory(real_data / "head_ct_hemorrhage", "classification"), max_cases=10)
    assert taken.class_cases == {0: 70, 1: 70}
    assert make_plan(taken, PlanOptions()).image_size.value == 224


def test_hippocampus(real_data: Path) -> None:
    taken = take_fingerprint(take_inventory(real_data / "hippocampus_mri", "segmentation"), max_cases=30)
    assert (taken.cases, list(taken.names)) == (180, [0, 1, 2])
    found = summary(taken.read)  # the Decathlon's own: 1 mm, about 35 x 50 x 36
    assert found["spacing_mm"]["p50"] == [1, 1, 1]
    assert found["shape"]["p50"] == pytest.approx([35, 50, 36], abs=3)
    plan = make_plan(taken, PlanOptions(name="hippocampus", modality="mri"))
    assert (plan.patch_size.value, plan.spacing.value) == ([32, 48, 32], [1, 1, 1])


def test_abdomen_ct_as_nifti_and_as_dicom(real_data: Path, tmp_path: Path) -> None:
    home = real_data / "abdomen_ct"
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.nii.gz").symlink_to(home / "ct_3mm.nii.gz")
        (tmp_path / "labels" / f"{name}.nii.gz").symlink_to(home / "ct_3mm_pseudo_labels.nii.gz")
    (tmp_path / "images" / "c").symlink_to(home / "dicom")
    (tmp_path / "labels" / "c.nii.gz").symlink_to(home / "dicom_pseudo_labels.nii.gz")
    taken = take_fingerprint(take_inventory(tmp_path, "segmentation"))
    shapes = {case.case: (case.shape, case.spacing) for case in taken.read}
    assert shapes["a"] == ((122, 101, 30), (3, 3, 3))
    assert shapes["c"][0] == (512, 512, 20)
    assert shapes["c"][1] == pytest.approx((0.9765625, 0.9765625, 2.0))
    plan = make_plan(taken, PlanOptions(name="organs"))
    assert (plan.modality.value, plan.dimensions.value, plan.intensity.value["kind"]) == ("ct", 3, "ct_range")
    assert plan.intensity.value["low"] > -1100
    assert plan.intensity.value["high"] < 1500
