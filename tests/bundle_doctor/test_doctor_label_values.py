"""Bundles whose label values have gaps: labels, masks and names; files beside the weights; pictures and Deploy."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from planted_defects import PRED, SHAPE, also, put, step
from zoo_bundles import UNET, Change, Configs, write_bundle

from medtl_monai.bundle.doctor.commands import Session
from medtl_monai.bundle.doctor.examine import Choice, examine
from medtl_monai.bundle.doctor.outcome import Outcome
from medtl_monai.bundle.doctor.outputs import mask_for
from medtl_monai.bundle.doctor.processes import Processes
from medtl_monai.bundle.doctor.subject import Subject
from medtl_monai.bundle.doctor.synthetic import make_cases, reads_pictures_alone
from medtl_monai.cli import main

VALUES = (0, 5, 9)
NAMES = {"0": "background", "1": "five", "2": "nine"}


def numbered(back: bool = True, values: Sequence[int] = VALUES) -> Change:
    """Label values with gaps; not ``back``: masks keep the numbers of the channels."""
    entering = {"_target_": "MapLabelValued", "keys": "label", "orig_labels": list(values), "target_labels": [0, 1, 2]}
    leaving = {**entering, "keys": "pred", "orig_labels": [0, 1, 2], "target_labels": list(values)}

    def change(bundle: Path, made: Configs) -> None:
        for config in (made["inference"], made["train"]):
            config["label_values"] = list(values)
            config["network_def"]["out_channels"] = 3
        made["train"]["train"]["preprocessing"]["transforms"].insert(2, entering)
        made["train"]["validate"]["postprocessing"]["to_onehot"] = 3
        if back:
            made["inference"]["postprocessing"]["transforms"].insert(3, leaving)
        put(f"{PRED}#num_channels", 3)(bundle, made)
        put(f"{PRED}#channel_def", NAMES)(bundle, made)

    return change


def balanced() -> UNet:
    """Initial weights that give every class a third of the voxels or so."""
    torch.manual_seed(1)
    arguments = {key: value for key, value in UNET.items() if key not in ("_target_", "out_channels")}
    network = UNet(**arguments, out_channels=3).eval()
    with torch.no_grad():
        for _ in range(20):
            scores = network(torch.rand(1, 1, 24, 24, 24, generator=torch.Generator().manual_seed(0)))
            share = torch.bincount(scores.argmax(1).flatten(), minlength=3) / scores[0, 0].numel()
            list(network.parameters())[-1].sub_(0.3 * scores.std() * (share - 1 / 3))
    return network


def gapped(folder: Path, *changes: Change, back: bool = True) -> Path:
    return write_bundle(folder, also(numbered(back), *changes), network=balanced())


def outcomes(bundle: Path, rows: str) -> dict[str, Outcome]:
    chosen = tuple(rows.split())
    return {one.row: one.outcome for one in examine(bundle, Choice(only=chosen)) if one.row in chosen}


def test_values_with_gaps_pass_and_d6_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = gapped(tmp_path)
    rows = "D6 INF-POST NET CLI-INFER CLI-TRAIN CLI-EVALUATE LABEL-INFER LABEL-TRAIN DEPLOY"
    found = outcomes(bundle, rows)
    assert {row: one.state for row, one in found.items()} == {**dict.fromkeys(rows.split(), "pass"), "D6": "warning"}
    assert "masks hold 0, 5, 9, channels are 0, 1, 2" in found["D6"].problems[0].message
    assert main(["doctor", str(bundle), "--only", "D6"]) == 0
    assert capsys.readouterr().out.startswith("warn D6")
    assert main(["doctor", str(bundle), "--only", "D6", "--format", "sarif"]) == 0
    assert '"level": "warning"' in capsys.readouterr().out


def test_labels_hold_the_values_of_the_training(tmp_path: Path) -> None:
    cases = make_cases(Subject(gapped(tmp_path)), tmp_path / "cases")
    for path in cases.labels:
        assert set(np.unique(nib.load(str(path)).dataobj)) == set(VALUES)
    large = write_bundle(tmp_path / "large", numbered(values=(0, 7, 300)), network=balanced())
    cases = make_cases(Subject(large), tmp_path / "more")
    assert set(np.unique(nib.load(str(cases.labels[0])).dataobj)) == {0, 7, 300}


def test_masks_that_hold_channels_instead_of_values_are_caught(tmp_path: Path) -> None:
    found = outcomes(gapped(tmp_path, back=False), "D6 CLI-INFER")
    assert found["CLI-INFER"].state == "fail"
    assert "none but 0, 5, 9 are labels" in found["CLI-INFER"].problems[0].message
    assert found["D6"].state == "pass"  # MONAI Label's mask holds the channels


def test_training_and_inference_of_different_values_are_caught(tmp_path: Path) -> None:
    found = outcomes(gapped(tmp_path, put("inference#label_values", [0, 5, 8])), "D6")
    assert found["D6"].state == "fail"
    assert "label_values are 0, 5, 8, in train.json 0, 5, 9" in found["D6"].problems[0].message


@pytest.mark.parametrize(("values", "state"), [((0, 5, 9), "pass"), ((0, 9, 5), "fail")])
def test_a_saver_may_put_the_values_back(tmp_path: Path, values: Sequence[int], state: str) -> None:
    bundle = gapped(tmp_path, back=False)
    session = Session(Subject(bundle), Processes(tmp_path / "work", 60), None)
    finished, output = session.inferred("root")
    assert finished.code == 0, finished.output
    image = session.cases.images[0]
    written = mask_for(image, output)
    assert written is not None
    scan = nib.load(written)
    channels = np.asarray(scan.dataobj).astype(int)
    assert set(np.unique(channels)) == {0, 1, 2}
    nib.save(nib.Nifti1Image(np.array(values, np.uint8)[channels], scan.affine), written)
    found = session.row("label.inference", {"image": str(image), "mask": str(written)})
    assert isinstance(found, Outcome)
    assert found.state == state


def test_files_of_a_training_beside_the_weights(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    torch.save({"epoch": 3, "optimizer": {}}, bundle / "models" / "last.ckpt")
    shutil.copy(bundle / "models" / "model.pt", bundle / "models" / "model_previous.pt")
    assert outcomes(bundle, "L5")["L5"].state == "pass"
    (bundle / "models" / "last.ckpt").rename(bundle / "models" / "last.pt")
    found = outcomes(bundle, "L5")["L5"]
    assert found.state == "fail"
    assert "last.pt is as short" in found.problems[0].message


@pytest.mark.parametrize(("kinds", "alone"), [("png, jpeg", True), ("jpeg, dicom", False), ("png, nifti", False)])
def test_pictures_alone_have_no_place_in_deploy(tmp_path: Path, kinds: str, alone: bool) -> None:
    flat = also(put("metadata#data_type", kinds), put(SHAPE, [32, 32]), step("preprocessing", ("Orientationd",)))
    bundle = write_bundle(tmp_path, flat)
    assert reads_pictures_alone(Subject(bundle)) == alone
    if alone:
        outcome = outcomes(bundle, "DEPLOY")["DEPLOY"]
        assert outcome.state == "not applicable"
        assert outcome.note == "reads png, jpeg alone, and Deploy's operators hand over DICOM series"
