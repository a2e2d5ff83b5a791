"""Names win over numbers, from the datastore's file to the voxels; what cannot be understood is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medtl_monai.data.label_order import in_task_order, require_named_labels, submitted_names, value_map
from medtl_monai.errors import FormatError, LabelError
from medtl_monai.transforms.named_labels import LoadNamedLabeld

NAMES = {"0": "background", "1": "Anterior hippocampus", "2": "posterior hippocampus"}
SWAPPED = [("posterior hippocampus", 1), ("anterior hippocampus", 2)]
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


@pytest.fixture
def voxels() -> np.ndarray:
    array = np.zeros((6, 7, 8), np.uint8)
    array[1:3], array[3:5] = 1, 2
    return array


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return str(path)


def submit(studies: Path, voxels: np.ndarray, info: object, name: str = "a", **image: Any) -> dict[str, str]:
    """A labelled scan as MONAI Label 0.8.5 stores it (layout of its ``datastore/local.py``)."""
    noise = np.random.default_rng(0).integers(1, 99, voxels.shape).astype(np.int16)
    case = {
        "image": save(studies / f"{name}.nii.gz", noise, **image),
        "label": save(studies / "labels" / "final" / f"{name}.nii.gz", voxels),
    }
    store = studies / "datastore_v2.json"
    rows = json.loads(store.read_text())["objects"] if store.is_file() else {}
    label = {"ext": ".nii.gz", "info": {"label_info": info, "client_id": None, "ts": 1, "name": f"{name}.nii.gz"}}
    image_info = {"ext": ".nii.gz", "info": {"ts": 1, "name": f"{name}.nii.gz"}}
    other = {"image": image_info, "labels": {}}
    rows |= {f"before_{name}": other, name: {"image": image_info, "labels": {"final": label}}}
    store.write_text(json.dumps({"name": "new", "images_dir": ".", "labels_dir": "labels", "objects": rows}))
    return case


def segments(*pairs: tuple[str, int]) -> list[dict[str, object]]:
    return [{"name": name, "idx": value} for name, value in pairs]


def test_names_are_found_in_the_datastore(tmp_path: Path, voxels: np.ndarray) -> None:
    case = submit(tmp_path, voxels, segments(*SWAPPED))
    assert submitted_names(case["label"]) == SWAPPED


@pytest.mark.parametrize("info", [None, []])
def test_labels_without_names_keep_their_values(tmp_path: Path, voxels: np.ndarray, info: object) -> None:
    label = submit(tmp_path, voxels, info)["label"]
    outside = save(tmp_path / "elsewhere.nii.gz", voxels)
    for path in (label, outside):
        assert submitted_names(path) is None
        np.testing.assert_array_equal(in_task_order(voxels, path, NAMES), voxels)


def test_every_voxel_gets_the_value_of_its_name(tmp_path: Path, voxels: np.ndarray) -> None:
    label = submit(tmp_path, voxels, segments(("empty", 1), ("Posterior Hippocampus", 2), ("anterior hippocampus", 3)))
    shifted = np.where(voxels > 0, 1 + voxels, 0).astype(np.uint8)
    got = in_task_order(shifted, label["label"], NAMES)
    expected = np.zeros_like(shifted)
    expected[shifted == 2], expected[shifted == 3] = 2, 1
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == shifted.dtype


def test_the_transform_loads_in_the_task_s_order(tmp_path: Path, voxels: np.ndarray) -> None:
    case = submit(tmp_path, voxels, segments(*SWAPPED))
    loaded = LoadNamedLabeld(keys="label", label_names=NAMES)({"label": case["label"]})["label"]
    np.testing.assert_array_equal(loaded.numpy(), np.array([0, 2, 1])[voxels])
    np.testing.assert_allclose(loaded.affine, AFFINE)
    plain = save(tmp_path / "plain.nii.gz", voxels)
    kept = LoadNamedLabeld(keys="label", label_names=NAMES)({"label": plain})["label"]
    np.testing.assert_array_equal(kept.numpy(), voxels)


@pytest.mark.parametrize(
    ("named", "present", "words"),
    [
        ([("amygdala", 1), ("posterior hippocampus", 2)], [0, 1, 2], ["1 amygdala", "posterior hippocampus"]),
        (SWAPPED, [0, 1, 2, 3], ["3 (no name)"]),
        ([("posterior hippocampus", 1), ("posterior hippocampus ", 2)], [1, 2], ["one name"]),
        # Slicer's plugin counts `background` but does not export it: the file says 1 and 2, the names say 2 and 3.
        ([("anterior hippocampus", 2), ("posterior hippocampus", 3)], [0, 1, 2], ["1, 2, 3, ...", "background"]),
        ([("anterior hippocampus", 2), ("posterior hippocampus", 3)], [0, 2], ["1, 2, 3, ...", "scribbles"]),
    ],
)
def test_what_cannot_be_told_is_refused(named: list[tuple[str, int]], present: list[int], words: list[str]) -> None:
    with pytest.raises(LabelError) as caught:
        value_map(named, present, NAMES, case="a")
    for word in ("case a", *words):
        assert word in str(caught.value)


def test_an_unknown_segment_without_voxels_does_no_harm() -> None:
    named = [("anterior hippocampus", 1), ("kidney", 2), ("posterior hippocampus", 3)]
    assert value_map(named, [0, 1, 3], NAMES) == {0: 0, 1: 1, 3: 2}


@pytest.mark.parametrize("info", ["text", [{"name": "x"}], [{"name": "x", "idx": "one"}], [7]])
def test_names_that_cannot_be_understood(tmp_path: Path, voxels: np.ndarray, info: object) -> None:
    label = submit(tmp_path, voxels, info)["label"]
    with pytest.raises(FormatError, match="case a: the names of a label cannot be understood"):
        submitted_names(label)


def test_all_labels_that_cannot_be_used_are_named_at_once(tmp_path: Path, voxels: np.ndarray) -> None:
    good = submit(tmp_path, voxels, segments(*SWAPPED), "good")
    unknown = submit(tmp_path, voxels, segments(("tumour", 1), ("posterior hippocampus", 2)), "unknown")
    moved = submit(tmp_path, voxels, segments(*SWAPPED), "moved", affine=np.diag([2.0, 1, 1.5, 1]))
    unnamed = submit(tmp_path, (voxels * 3).astype(np.uint8), None, "unnamed")
    require_named_labels([[good], []], NAMES)
    with pytest.raises(LabelError) as caught:
        require_named_labels([[good, unknown], [moved, unnamed]], NAMES)
    text = str(caught.value)
    assert text.startswith("3 of 4 submitted labels")
    for words in ("case unknown", "1 tumour", "case moved", "different affines", "case unnamed", "values 3", "6"):
        assert words in text
    assert "case good" not in text


def test_cases_of_a_datalist_are_passed_over(tmp_path: Path) -> None:
    require_named_labels([[{"image": "none", "label": str(tmp_path / "none.nii.gz"), "case": "none"}]], NAMES)
