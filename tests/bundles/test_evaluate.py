"""The scores of evaluate.json, computed again from the label files and from the masks that inference writes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from bundle_commands import Finished
from monai.bundle import ConfigWorkflow

from medtl_monai.data.datalist import Datalist, make_datalist
from medtl_monai.data.phantom import make_phantom
from medtl_monai.workflows.case_metrics import score_case

LABELS = {0: "background", 1: "anterior hippocampus", 2: "posterior hippocampus"}
SHAPE, SPACING = (58, 50, 18), (0.6, 1.0, 2.0)  # as many mm as the crops of 1 mm voxels


@pytest.fixture(scope="module")
def thick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five phantoms with anisotropic voxels, stored in another order of the axes."""
    folder = tmp_path_factory.mktemp("thick")
    for seed in range(5):
        phantom = make_phantom(seed, shape=SHAPE)
        affine = phantom.affine @ np.diag([*SPACING, 1.0])
        for kind, array in (("images", phantom.image), ("labels", phantom.label)):
            (folder / kind).mkdir(exist_ok=True)
            scan = nibabel.Nifti1Image(array, affine)
            scan = scan.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
            nibabel.save(scan, folder / kind / f"thick_{seed}.nii.gz")
    make_datalist(folder, validation=0.2, test=0.4, label_names=LABELS).save(folder / "datalist.json")
    return folder


def test_scores_are_those_of_the_written_masks_on_the_scans_own_grid(
    command: Callable[..., Finished], bundle: Path, thick: Path, tmp_path: Path
) -> None:
    configs = "['configs/train.json','configs/evaluate.json']"
    options = {"dataset_dir": thick, "output_dir": tmp_path / "eval"}
    finished = command("run", config_file=configs, **options)
    assert finished.code == 0, finished.output[-3000:]
    options = {"dataset_dir": thick, "output_dir": tmp_path / "masks"}
    assert command("run", config_file="configs/inference.json", **options).code == 0

    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    cases = Datalist.load(thick / "datalist.json").splits["test"]
    assert [row["case"] for row in rows] == [case.case for case in cases for _ in (1, 2)]
    dices = []
    for case in cases:
        label = nibabel.load(thick / case.label)
        mask = nibabel.load(tmp_path / "masks" / f"{case.case}_seg.nii.gz")
        expected = score_case(
            case.case, np.asarray(mask.dataobj), np.asarray(label.dataobj), label.header.get_zooms(), LABELS
        )
        for row, score in zip([row for row in rows if row["case"] == case.case], expected, strict=True):
            assert row["structure"] == score.structure
            for name in ("dice", "hd95_mm", "volume_ml", "true_volume_ml"):
                assert float(row[name]) == pytest.approx(getattr(score, name), abs=2e-5), name
            dices.append(score.dice)
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert summary["mean"]["dice"]["mean"] == pytest.approx(np.mean(dices), abs=1e-4)
    assert summary["mean"]["dice"]["cases"] == 2
    assert not math.isnan(summary["anterior hippocampus"]["hd95_mm"]["mean"])


def test_other_splits_and_an_empty_one(command: Callable[..., Finished], thick: Path, tmp_path: Path) -> None:
    content = json.loads((thick / "datalist.json").read_text())
    (tmp_path / "datalist.json").write_text(json.dumps({**content, "test": []}))
    configs = "['configs/train.json','configs/evaluate.json']"
    options = {"dataset_dir": thick, "datalist": tmp_path / "datalist.json", "output_dir": tmp_path / "eval"}
    finished = command("run", config_file=configs, **options)
    assert finished.code == 1
    assert "no cases" in finished.output
    finished = command("run", config_file=configs, **options, split="validation")
    assert finished.code == 0, finished.output[-3000:]
    assert len((tmp_path / "eval" / "metrics.csv").read_text().splitlines()) == 3


def test_evaluation_needs_no_training_object(bundle: Path, thick: Path, tmp_path: Path) -> None:
    out = {"output_dir": str(tmp_path), "device": "cpu"}
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    workflow = ConfigWorkflow(
        files, logging_file=False, workflow_type="train", bundle_root=str(bundle), dataset_dir=str(thick), **out
    )
    workflow.initialize()
    workflow.run()
    assert "train::trainer" not in workflow.parser.ref_resolver.resolved_content
