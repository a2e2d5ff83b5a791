"""What training refuses over the command line: exit code, words, names of the cases, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from bundle_commands import Finished

from medtl_monai.data.datalist import Datalist

Train = Callable[..., Finished]


@pytest.fixture
def damaged(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort for a test to damage."""
    return Path(shutil.copytree(cohort, tmp_path / "cohort"))


def refused(finished: Finished, output: Path, *words: str) -> None:
    assert finished.code == 1, finished.output[-2000:]
    for word in words:
        assert word in finished.output
    assert not output.exists()  # it did not even begin


def plant(folder: Path, case: str, defect: str) -> None:
    """Damage the label of a case."""
    path = folder / "labels" / f"{case}.nii.gz"
    label = nibabel.load(path)
    voxels, affine = np.array(label.dataobj), label.affine.copy()
    path.unlink()
    if defect == "value":
        voxels[0, 0, 0] = 7
    elif defect == "shape":
        voxels = voxels[:-1]
    elif defect == "affine":
        affine[0, 3] += 3.0
    if defect != "missing":
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("missing", "label file is missing"),
        ("shape", "different shapes"),
        ("affine", "different affines"),
        ("value", "unexpected label values 7 (1 voxels)"),
    ],
)
def test_planted_label_defects_name_all_their_cases(
    train: Train, damaged: Path, tmp_path: Path, defect: str, words: str
) -> None:
    first, *_, last = Datalist.load(damaged / "datalist.json").splits["training"]
    for case in (first.case, last.case):
        plant(damaged, case, defect)
    finished = train(tmp_path / "out", dataset_dir=damaged)
    refused(finished, tmp_path / "out", words, f"case {first.case}", f"case {last.case}", "2 of 4 cases cannot be used")


def test_a_defect_in_a_validation_case_is_found_too(train: Train, damaged: Path, tmp_path: Path) -> None:
    case = Datalist.load(damaged / "datalist.json").splits["validation"][0].case
    plant(damaged, case, "shape")
    refused(train(tmp_path / "out", dataset_dir=damaged), tmp_path / "out", f"case {case}", "different shapes")


def test_no_data(train: Train, damaged: Path, tmp_path: Path) -> None:
    (damaged / "datalist.json").unlink()
    (tmp_path / "empty").mkdir()
    output = tmp_path / "out"
    refused(train(output, dataset_dir=damaged), output, "no datalist", "medtl datalist")
    refused(train(output, dataset_dir=tmp_path / "empty"), output, "no datalist", "medtl datalist")
    refused(train(output, dataset_dir=tmp_path / "absent"), output, "no such folder", "absent")


def test_an_empty_training_split(train: Train, cohort: Path, tmp_path: Path) -> None:
    content = json.loads((cohort / "datalist.json").read_text())
    (tmp_path / "datalist.json").write_text(json.dumps({**content, "training": []}))
    refused(train(tmp_path / "out", datalist=tmp_path / "datalist.json"), tmp_path / "out", "no cases")


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"strategy": "linear_prob"}, ["unknown transfer strategy", "did you mean 'linear_probe'"]),
        ({"source": "highres3dnet_gip"}, ["unknown pretrained weights", "did you mean 'highres3dnet_gif'"]),
        ({"source": "folder/absent.pt"}, ["weights file not found", "absent.pt"]),
        ({"network": "unett"}, ["unknown network", "did you mean 'unet'?"]),
        ({"network": "unet", "source": "highres3dnet_gif"}, ["ConfigError", "belongs to another network"]),
        ({"labelled": 99}, ["not enough labelled training cases", "at most 4"]),
        ({"precision": "float17"}, ["unknown precision", "bfloat16"]),
        ({"val_interval": 0}, ["validation interval", "1 or more"]),
        ({"resume": "maybe"}, ["'resume' is on or off"]),
        ({"resume": "true"}, ["nothing to resume from"]),
    ],
)
def test_settings_that_make_no_sense(train: Train, tmp_path: Path, knobs: dict[str, object], words: list[str]) -> None:
    finished = train(tmp_path / "out", **knobs)
    assert finished.code == 1
    for word in words:
        assert word in finished.output
    assert not list(tmp_path.glob("out/*.pt"))


def test_weights_that_are_not_there_are_never_replaced_by_random_ones(train: Train, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    environment = {"MEDTL_OFFLINE": "1", "MEDTL_WEIGHTS": str(tmp_path / "weights")}
    finished = train(tmp_path / "out", environment=environment, source="highres3dnet_gif")
    words = ["https://github.com/fepegar/highresnet-models", str(tmp_path / "weights"), "--source scratch"]
    refused(finished, tmp_path / "out", "MEDTL_OFFLINE is set", *words)
