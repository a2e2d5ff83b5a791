"""The 2D slice bundle and the abdomen bundle on synthetic scans: train, evaluate, predict, refuse."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bundle_commands import Finished, start_fork, words

from medtl_monai.data.datalist import make_datalist
from medtl_monai.networks.factory import build_network

SLICES, ABDOMEN = "hippocampus_mri_slice_segmentation", "abdomen_ct_segmentation"
Run = Callable[..., Finished]


def ok(finished: Finished) -> Finished:
    assert finished.code == 0, finished.output[-4000:]
    return finished


@pytest.fixture(scope="session")
def run(project: Path, logs: Path) -> Run:
    """``run(bundle, config_file, **knobs)``: one command in the bundle's folder."""

    def start(name: str, config: str, environment: dict[str, str] | None = None, **knobs: object) -> Finished:
        arguments = words("run", {"config_file": config, "bundle_root": ".", **knobs})
        return start_fork(arguments, project / "bundles" / name, logs, environment or {}).finish()

    return start


@pytest.fixture(scope="session")
def quick_slices(run: Run, cohort: Path) -> Callable[..., Finished]:
    """A very short training of the slice bundle."""
    small = {"epochs": 1, "cases_per_epoch": 8, "batch_size": 8, "patch_size": "[1,32,32]", "val_at_start": "false"}
    return lambda folder, **knobs: run(
        SLICES, "configs/train.json", **{"dataset_dir": cohort, "output_dir": folder, **small, **knobs}
    )


def test_slices_train_evaluate_and_predict_volumes(
    run: Run, quick_slices: Callable[..., Finished], cohort: Path, tmp_path: Path
) -> None:
    ok(quick_slices(tmp_path / "run"))
    together = "['configs/train.json','configs/evaluate.json']"
    ok(run(SLICES, together, dataset_dir=cohort, ckpt_dir=tmp_path / "run", output_dir=tmp_path / "eval"))
    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert {row["structure"] for row in rows} == {"anterior hippocampus", "posterior hippocampus"}
    model = tmp_path / "run" / "model.pt"
    ok(run(SLICES, "configs/inference.json", dataset_dir=cohort, ckpt_path=model, output_dir=tmp_path / "masks"))
    for scan in sorted((cohort / "images").iterdir()):
        mask = nib.load(tmp_path / "masks" / scan.name.replace(".nii.gz", "_seg.nii.gz"))
        image = nib.load(scan)
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}


@pytest.mark.parametrize("strategy", ["linear_probe", "lp_ft", "features_logistic", "gradual_unfreeze", "lora", "bss"])
def test_kinds_of_strategies_on_slices(
    quick_slices: Callable[..., Finished], real_weights: Path, tmp_path: Path, strategy: str
) -> None:
    """It trains, or says which network it needs; what it leaves is a plain network."""
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    source = "imagenet_squeezenet1_0_pruned"
    labelled = 0 if strategy.startswith("features") else 1  # the latter want several patients
    finished = quick_slices(tmp_path, source=source, strategy=strategy, labelled=labelled, environment=environment)
    if strategy == "bss":
        assert finished.code != 0
        assert "bss" in finished.output
        return
    ok(finished)
    dense = strategy.startswith("features")
    own = build_network("dense_squeezenet1_0" if dense else "unet_squeezenet1_0", out_channels=3).state_dict()
    left = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {name: tensor.shape for name, tensor in left.items()} == {n: t.shape for n, t in own.items()}


@pytest.fixture(scope="session")
def abdomen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five CT volumes in HU with two organs, of other axes and spacings, and a datalist."""
    folder = tmp_path_factory.mktemp("abdomen")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng = np.random.default_rng(0)
    for case in range(5):
        grid = np.stack(np.meshgrid(*(np.arange(24) - 12,) * 3, indexing="ij"))
        body = np.sqrt((grid**2).sum(axis=0)) < 11
        organs = np.where((np.abs(grid - 4) < 3).all(axis=0), 1, 0) + np.where((np.abs(grid + 4) < 4).all(axis=0), 2, 0)
        values = np.where(body, 20, -1000) + 100 * (organs == 1) + 180 * (organs == 2) + rng.normal(0, 10, body.shape)
        affine = np.diag([-2.0, -2.0, 2.0, 1.0]) if case % 2 else np.diag([2.0, 2.0, 2.0, 1.0])
        nib.save(nib.Nifti1Image(values.astype(np.int16), affine), folder / "images" / f"c{case}.nii.gz")
        nib.save(nib.Nifti1Image(organs.astype(np.uint8), affine), folder / "labels" / f"c{case}.nii.gz")
    names = {0: "background", 1: "spleen", 2: "right kidney"}
    make_datalist(folder, validation=0.2, test=0.2, label_names=names).save(folder / "datalist.json")
    return folder


def test_abdomen_learns_other_organs_by_their_values(run: Run, abdomen: Path, tmp_path: Path) -> None:
    """A small network stands in for MedicalNet's; the organs are those of the user's data."""
    organs = {"label_values": "[0,1,2]", "network": "unet"}
    small = {
        "patch_size": "[24,24,24]",
        "epochs": 30,
        "val_interval": 30,
        "spacing": "[2,2,2]",
        "cases_per_epoch": 8,
        "learning_rate": 0.003,
    }
    ok(run(ABDOMEN, "configs/train.json", dataset_dir=abdomen, output_dir=tmp_path / "run", **organs, **small))
    together = "['configs/train.json','configs/evaluate.json']"
    named = "{'0': 'background', '1': 'spleen', '2': 'right kidney'}"
    options = {
        "dataset_dir": abdomen,
        "ckpt_dir": tmp_path / "run",
        "output_dir": tmp_path / "eval",
        "spacing": "[2,2,2]",
    }
    ok(run(ABDOMEN, together, label_names=named, **organs, **options))
    rows = list(csv.DictReader((tmp_path / "eval" / "metrics.csv").open()))
    assert {row["structure"] for row in rows} == {"spleen", "right kidney"}
    assert min(float(row["dice"]) for row in rows) > 0.5
    volume_ml = 5**3 * 8 / 1000
    assert float(rows[0]["true_volume_ml"]) == pytest.approx(volume_ml, abs=1e-3)


def test_abdomen_with_the_published_topology(run: Run, abdomen: Path, tmp_path: Path) -> None:
    small = {"patch_size": "[16,16,16]", "epochs": 1, "val_at_start": "false", "spacing": "[3,3,3]", "batch_size": 1}
    ok(run(ABDOMEN, "configs/train.json", dataset_dir=abdomen, output_dir=tmp_path, cases_per_epoch=1, **small))
    own = build_network("unet_medicalnet_resnet18", out_channels=16).state_dict()
    left = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {name: tensor.shape for name, tensor in left.items()} == {n: t.shape for n, t in own.items()}


def test_abdomen_without_weights_names_two_commands(run: Run, abdomen: Path, tmp_path: Path) -> None:
    finished = run(ABDOMEN, "configs/inference.json", dataset_dir=abdomen, output_dir=tmp_path / "masks")
    assert finished.code != 0
    for command in ("medtl weights fetch medicalnet_resnet18_23datasets", "--config_file configs/train.json"):
        assert command in finished.output
    assert not (tmp_path / "masks").exists()


def test_a_picture_of_a_ct_is_refused(run: Run, abdomen: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    image = nib.load(abdomen / "images" / "c0.nii.gz")
    grey = np.clip((np.asarray(image.dataobj) + 140) / 400 * 255, 0, 255).astype(np.uint8)
    nib.save(nib.Nifti1Image(grey, image.affine), folder / "c0.nii.gz")
    torch.save(build_network("unet", out_channels=16).state_dict(), tmp_path / "model.pt")
    finished = run(
        ABDOMEN,
        "configs/inference.json",
        dataset_dir=folder,
        output_dir=tmp_path / "masks",
        network="unet",
        ckpt_path=tmp_path / "model.pt",
    )
    assert finished.code != 0
    assert "these values cannot be HU" in finished.output
    assert "c0" in finished.output


@pytest.mark.parametrize("name", [SLICES, ABDOMEN])
def test_metadata_agrees_with_the_network(project: Path, name: str) -> None:
    metadata = json.loads((project / "bundles" / name / "configs" / "metadata.json").read_text())
    inference = json.loads((project / "bundles" / name / "configs" / "inference.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    size = [int(text.removesuffix("*n")) for text in image["spatial_shape"]]
    network = build_network(inference["network"]["name"], out_channels=len(inference["label_values"])).eval()
    with torch.no_grad():
        output = network(torch.zeros(1, 1, *size))
    assert list(output.shape[1:]) == [metadata["network_data_format"]["outputs"]["pred"]["num_channels"], *size]


def test_shipped_slice_weights(project: Path) -> None:
    """Flat, of the default network, with the lineage of their source in the metadata."""
    bundle = project / "bundles" / SLICES
    network = build_network("unet_squeezenet1_0", out_channels=3)
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    (source,) = json.loads((bundle / "configs" / "metadata.json").read_text())["weights_lineage"]
    assert (source["source"], source["licence"]) == ("imagenet_squeezenet1_0_pruned", "BSD-2-Clause")
