"""The bundles that `medtl new` writes train, evaluate and predict, and the commands it prints work when pasted."""

from __future__ import annotations

import csv
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from new_data import SHAPE, ct_with_organs, new

PER_CLASS = 10


def pasted(told: str) -> list[str]:
    """The commands in the text for users."""
    return re.findall(r"^ +(cd .+)$", told, flags=re.MULTILINE)


def run(command: str, environment: dict[str, str]) -> str:
    quick = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MEDTL_OFFLINE": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, **quick, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def run_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words that a shell would make of a command, as ``python -m`` would run them, without a new interpreter."""
    go, folder, both, _, option, module, *words = shlex.split(command)
    assert (go, both, option) == ("cd", "&&", "-m")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [module, *words, "--logging_file", "False"])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@pytest.fixture
def mednist(real_data: Path, tmp_path: Path) -> Path:
    """Ten images of each class, as links, in a folder that may be written to."""
    for folder in sorted(path for path in (real_data / "mednist").iterdir() if path.is_dir()):
        (tmp_path / "mednist" / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:PER_CLASS]:
            (tmp_path / "mednist" / folder.name / image.name).symlink_to(image)
    return tmp_path / "mednist"


def test_mednist_with_the_printed_commands(
    mednist: Path,
    real_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    bundle = tmp_path / "mednist_classification"
    assert new("mednist_classification", mednist, bundle, "--steps", "20") == 0
    train, evaluate, predict = pasted(capsys.readouterr().out)
    assert "--source imagenet_squeezenet1_0_pruned --strategy fine_tune" in train
    run(train, {"MEDTL_WEIGHTS": str(real_weights)})
    for command in (evaluate, predict):
        run_here(command, monkeypatch)
    classes = sorted(path.name for path in mednist.iterdir() if path.is_dir())
    rows = list(csv.DictReader((bundle / "eval" / "predictions.csv").open()))
    assert len(rows) == 1
    probabilities = [float(rows[0][f"probability {name}"]) for name in classes]
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    judged = (bundle / "eval" / "metrics.csv").read_text()
    test_cases = round(0.2 * PER_CLASS) * len(classes)
    assert len(judged.splitlines()) - 1 == test_cases


def test_ct_with_gaps_between_its_label_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from monai.bundle import run as run_bundle

    data, bundle = ct_with_organs(tmp_path / "data"), tmp_path / "organs_ct_segmentation"
    assert new("organs_ct_segmentation", data, bundle, "--source", "scratch", "--steps", "40") == 0
    train, evaluate, _ = pasted(capsys.readouterr().out)
    assert "--source" not in train
    assert "['configs/train.json','configs/evaluate.json']" in evaluate
    configs = bundle / "configs"
    common = {"bundle_root": str(bundle), "logging_file": False, "meta_file": str(configs / "metadata.json")}
    torch.set_num_threads(1)
    run_bundle(config_file=str(configs / "train.json"), dataset_dir=str(data), epochs=3, **common)
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert list(weights.values())[-1].shape == (3,)  # the bias of the head: one channel per value
    both = [str(configs / "train.json"), str(configs / "evaluate.json")]
    run_bundle(config_file=both, dataset_dir=str(data), **common)
    text = (bundle / "eval" / "metrics.csv").read_text()
    assert "label_5" in text
    assert "label_9" in text
    image = data / "images" / "case_1.nii.gz"
    run_bundle(config_file=str(configs / "inference.json"), dataset_dir=str(image), **common)
    mask = nib.load(bundle / "eval" / "case_1_seg.nii.gz")
    assert mask.shape == SHAPE
    assert np.allclose(mask.affine, nib.load(image).affine)
    found, truth = np.asarray(mask.dataobj), np.asarray(nib.load(data / "labels" / "case_1.nii.gz").dataobj)
    assert set(np.unique(found)) <= {0, 5, 9}  # values of the data, not channels of the network
    overlap = 2 * ((found == 5) & (truth == 5)).sum() / ((found == 5).sum() + (truth == 5).sum())
    assert overlap > 0.5
