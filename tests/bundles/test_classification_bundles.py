"""The two classification bundles through MONAI's command line, on small synthetic data."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundle_commands import Finished, start_fork, words
from monai.bundle import ConfigWorkflow
from PIL import Image

from medtl_monai.data.classification import ClassCase, ClassificationDatalist
from medtl_monai.networks.factory import build_network
from medtl_monai.provenance import validate_record
from medtl_monai.transfer.strategy import STRATEGIES
from medtl_monai.workflows.checkpoint_files import read_checkpoint
from medtl_monai.workflows.soup import make_soup

BUNDLES = ("hemorrhage_ct_classification", "adrenal_ct_classification")
COUNTS = {"training": 4, "validation": 4, "test": 4}
QUICK: dict[str, dict[str, object]] = {
    BUNDLES[0]: {"epochs": 1, "image_size": 64, "batch_size": 2},
    BUNDLES[1]: {"epochs": 1, "image_size": "[22,22,22]", "batch_size": 2},
}
Run = Callable[..., Finished]


def ok(finished: Finished) -> Finished:
    assert finished.code == 0, finished.output[-4000:]
    return finished


def slice_with(path: Path, label: int, rng: np.random.Generator) -> None:
    """A grey ellipse; a bright spot in those of class 1."""
    i, j = np.mgrid[:70, :60]
    grey = np.where(((i - 35) / 30) ** 2 + ((j - 30) / 25) ** 2 < 1, 100, 0) + rng.integers(0, 20, (70, 60))
    if label:
        grey[30:40, 20:30] = 230
    Image.fromarray(grey.astype(np.uint8)).save(path)


def ball(path: Path, label: int, rng: np.random.Generator) -> None:
    """A ball of a radius that depends on the class."""
    grid = np.mgrid[:22, :22, :22] - rng.integers(10, 12, (3, 1, 1, 1))
    mask = (grid**2).sum(axis=0) < (4 + 3 * label) ** 2
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.eye(4)), path)


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a datalist for each bundle; two cases per patient."""
    made = {}
    for name, write, suffix in zip(BUNDLES, (slice_with, ball), (".png", ".nii.gz"), strict=True):
        folder, rng = tmp_path_factory.mktemp(name), np.random.default_rng(0)
        (folder / "images").mkdir()
        splits: dict[str, tuple[ClassCase, ...]] = {}
        for split, count in COUNTS.items():
            rows = []
            for i in range(count):
                case = f"{split}_{i}"
                write(folder / "images" / f"{case}{suffix}", i % 2, rng)
                rows.append(ClassCase(case, f"images/{case}{suffix}", i % 2, f"{split}_patient_{i // 2}"))
            splits[split] = tuple(rows)
        ClassificationDatalist({0: "normal", 1: "ill"}, splits).save(folder / "datalist.json")
        made[name] = folder
    return made


@pytest.fixture(scope="session")
def run(project: Path, logs: Path, datasets: dict[str, Path]) -> Run:
    """``run(bundle, config_file, output_dir, **knobs)``: one command in the bundle's folder."""

    def start(
        name: str, config: str, output_dir: Path, *, environment: dict[str, str] | None = None, **knobs: object
    ) -> Finished:
        options = {"config_file": config, "bundle_root": ".", "dataset_dir": datasets[name], "output_dir": output_dir}
        arguments = words("run", {**options, **knobs})
        return start_fork(arguments, project / "bundles" / name, logs, environment or {}).finish()

    return start


@pytest.fixture(scope="session")
def train(run: Run) -> Run:
    """``train(bundle, output_dir, **knobs)``: a very short training."""
    return lambda name, folder, **knobs: run(name, "configs/train.json", folder, **{**QUICK[name], **knobs})


def tensors(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return content.get("network", content)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session", params=BUNDLES)
def trained(request: pytest.FixtureRequest, train: Run, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two epochs of each bundle: ``name`` and ``folder``."""
    folder = tmp_path_factory.mktemp("trained")
    ok(train(request.param, folder, epochs=2))
    return SimpleNamespace(name=request.param, folder=folder)


def test_what_a_training_leaves_behind(trained: SimpleNamespace) -> None:
    files = ["calibration.json", "curves.csv", "last.ckpt", "model.pt", "model.pt.lineage.json", "run.json"]
    assert sorted(path.name for path in trained.folder.iterdir()) == files
    rows = list(csv.DictReader((trained.folder / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(0 <= float(row["val_auc"]) <= 1 for row in rows)
    record = json.loads((trained.folder / "run.json").read_text())
    assert validate_record(record) == []
    assert record["state"] == "finished"
    assert record["config"]["settings"]["class_counts"] == {"0": 2, "1": 2}
    assert [len(record["data"][split]) for split in ("training", "validation")] == [4, 4]
    assert len(record["data"]["training"][0]["image_sha256"]) == 64


def test_killed_and_resumed_equals_uninterrupted(
    train: Run, project: Path, logs: Path, datasets: dict[str, Path], tmp_path: Path
) -> None:
    name, parts = BUNDLES[0], tmp_path / "parts"
    ok(train(name, tmp_path / "whole", epochs=4))
    options = {"config_file": "configs/train.json", "dataset_dir": datasets[name], "output_dir": parts}
    arguments = words("run", {**options, **QUICK[name], "epochs": 4})
    running = start_fork(arguments, project / "bundles" / name, logs, {})
    while not (parts / "last.ckpt").exists() or read_checkpoint(parts / "last.ckpt")["epoch"] < 1:
        assert running.process.is_alive(), running.finish().output[-3000:]
        time.sleep(0.01)
    running.process.kill()
    assert running.finish().code == -9
    ok(train(name, parts, epochs=4, resume="true"))
    for file in ("model.pt", "last.ckpt"):
        assert sha256(parts / file) == sha256(tmp_path / "whole" / file)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_by_one_word(train: Run, real_weights: Path, tmp_path: Path, strategy: str) -> None:
    """It trains from a published ImageNet network, and what it leaves is a plain network."""
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    source = "imagenet_squeezenet1_0_pruned"
    ok(train(BUNDLES[0], tmp_path, source=source, strategy=strategy, val_at_start="false", environment=environment))
    own = build_network("classifier_squeezenet1_0", out_channels=2).state_dict()
    left = tensors(tmp_path / "model.pt")
    assert {name: tensor.shape for name, tensor in left.items()} == {n: t.shape for n, t in own.items()}
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["weights"][0]["report"]["missing"] == []
    assert record["config"]["settings"]["strategy"] == strategy


@pytest.mark.parametrize(
    ("name", "network"),
    [(BUNDLES[0], "classifier_mobilenet_v3_large"), (BUNDLES[1], "classifier_medicalnet_resnet10")],
)
def test_networks_by_name(train: Run, tmp_path: Path, name: str, network: str) -> None:
    ok(train(name, tmp_path, network=network, val_at_start="false"))
    own = build_network(network, out_channels=2).state_dict()
    assert list(tensors(tmp_path / "model.pt")) == list(own)


def test_evaluation(run: Run, trained: SimpleNamespace, tmp_path: Path) -> None:
    config = "['configs/train.json','configs/evaluate.json']"
    size = {"image_size": QUICK[trained.name]["image_size"]}
    ok(run(trained.name, config, tmp_path, ckpt_dir=trained.folder, **size))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(row["case"], row["patient"]) for row in rows] == [
        (f"test_{i}", f"test_patient_{i // 2}") for i in range(COUNTS["test"])
    ]
    summary = json.loads((tmp_path / "metrics.json").read_text())
    assert (summary["accuracy"]["cases"], summary["accuracy"]["patients"]) == (4, 2)
    assert set(summary) == {
        *("positive", "auc", "accuracy", "sensitivity", "specificity"),
        *("brier_score", "calibration_error", "operating_points"),
    }
    places = [(point["specificity_wanted"], point["threshold_chosen_on"]) for point in summary["operating_points"]]
    assert places == [
        (0.9, "validation cases"),
        (0.95, "validation cases"),
        (0.9, "these cases"),
        (0.95, "these cases"),
    ]


def test_the_temperature_is_in_the_last_layer(trained: SimpleNamespace, train: Run, tmp_path: Path) -> None:
    """Without calibration the same training gives the same weights, the last layer multiplied by the temperature."""
    ok(train(trained.name, tmp_path, epochs=2, calibrate="false"))
    assert not (tmp_path / "calibration.json").exists()
    found = json.loads((trained.folder / "calibration.json").read_text())
    assert found["model_sha256"] == sha256(trained.folder / "model.pt")
    assert found["cases_per_class"] == [2, 2]
    plain, calibrated = tensors(tmp_path / "model.pt"), tensors(trained.folder / "model.pt")
    for name, tensor in plain.items():
        factor = found["temperature"] if name.startswith("class_head") else 1.0
        assert torch.allclose(calibrated[name] * factor, tensor, rtol=1e-6), name
    assert tensors(tmp_path / "last.ckpt").keys() == plain.keys()
    for name, tensor in tensors(tmp_path / "last.ckpt").items():
        assert torch.equal(tensor, tensors(trained.folder / "last.ckpt")[name]), name


def test_probabilities_after_calibration_are_those_it_states(
    run: Run, trained: SimpleNamespace, tmp_path: Path
) -> None:
    found = json.loads((trained.folder / "calibration.json").read_text())
    size = {"image_size": QUICK[trained.name]["image_size"]}
    ok(
        run(
            trained.name,
            "['configs/train.json','configs/evaluate.json']",
            tmp_path,
            split="validation",
            ckpt_dir=trained.folder,
            **size,
        )
    )
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    truth = [0.0, 1.0, 0.0, 1.0]
    positive = [float(list(row.values())[-1]) for row in rows]
    losses = [-math.log(p if t else 1 - p) for p, t in zip(positive, truth, strict=True)]
    assert sum(losses) / 4 == pytest.approx(found["log_loss"][1], abs=1e-4)


def test_pictures_of_what_was_looked_at_on_request(run: Run, trained: SimpleNamespace, tmp_path: Path) -> None:
    options = {"image_size": QUICK[trained.name]["image_size"], "ckpt_path": trained.folder / "model.pt"}
    for explain in ("true", "false"):
        ok(run(trained.name, "configs/inference.json", tmp_path / explain, explain=explain, **options))
    plain, explained = (tmp_path / name / "predictions.csv" for name in ("false", "true"))
    assert explained.read_bytes() == plain.read_bytes()
    assert not (tmp_path / "false" / "saliency").exists()
    pictures = sorted((tmp_path / "true" / "saliency").glob("*.png"))
    assert len(pictures) == sum(COUNTS.values())
    assert Image.open(pictures[0]).size > (200, 100)


def test_several_windows_of_ct_slices_are_channels(
    train: Run, run: Run, datasets: dict[str, Path], tmp_path: Path
) -> None:
    """Slices in HU through three windows train a network of three channels; pictures have no HU for that."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    splits = {}
    for split in ("training", "validation", "test"):
        rows = []
        for i in range(4):
            hounsfield = rng.normal(35, 8, (60, 60, 1)) + (np.hypot(*(np.mgrid[:60, :60] - 30)) < 8)[..., None] * 40 * (
                i % 2
            )
            hounsfield[:5] = -1000
            image = nib.Nifti1Image(hounsfield.astype(np.int16), np.diag([-1.0, -1.0, 5.0, 1.0]))
            nib.save(image, folder / "images" / f"{split}_{i}.nii.gz")
            rows.append(ClassCase(f"{split}_{i}", f"images/{split}_{i}.nii.gz", i % 2, f"{split}_{i // 2}"))
        splits[split] = tuple(rows)
    ClassificationDatalist({0: "normal", 1: "ill"}, splits).save(folder / "datalist.json")
    windows = {"windows": "['brain','subdural','bone']"}
    ok(train(BUNDLES[0], tmp_path / "run", dataset_dir=folder, **windows))
    own = build_network("classifier_squeezenet1_0", in_channels=3).state_dict()
    left = tensors(tmp_path / "run" / "model.pt")
    assert {name: tensor.shape for name, tensor in left.items()} == {n: t.shape for n, t in own.items()}
    options = {"image_size": 64, "ckpt_path": tmp_path / "run" / "model.pt", "dataset_dir": folder / "images"}
    ok(run(BUNDLES[0], "configs/inference.json", tmp_path / "out", **windows, **options))
    finished = train(BUNDLES[0], tmp_path / "refused", **windows)
    assert finished.code != 0
    assert "a picture has no HU" in finished.output


def test_a_calibration_of_another_model_is_refused(run: Run, trained: SimpleNamespace, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "mixed"))
    content = json.loads((folder / "calibration.json").read_text())
    (folder / "calibration.json").write_text(json.dumps({**content, "model_sha256": "0" * 64}))
    size = {"image_size": QUICK[trained.name]["image_size"]}
    finished = run(trained.name, "['configs/train.json','configs/evaluate.json']", tmp_path, ckpt_dir=folder, **size)
    assert finished.code != 0
    assert "the calibration belongs to another model" in finished.output


def test_the_guard_keeps_model_and_calibration_together(train: Run, tmp_path: Path) -> None:
    """A dead source (AUC 0.5: all probabilities are equal) against a training that may well be better."""
    name = BUNDLES[1]
    network = build_network("classifier_squeezenet1_0_i3d", out_channels=2)
    torch.save({key: torch.zeros_like(tensor) for key, tensor in network.state_dict().items()}, tmp_path / "dead.pt")
    ok(train(name, tmp_path / "run", source=tmp_path / "dead.pt", guard="true", learning_rate=1e-4, epochs=3))
    assert json.loads((tmp_path / "run" / "guard.json").read_text())["transfer"] == 0.5
    content = json.loads((tmp_path / "run" / "calibration.json").read_text())
    assert content["model_sha256"] == sha256(tmp_path / "run" / "model.pt")


def test_a_soup_has_a_temperature_of_its_own(
    train: Run, trained: SimpleNamespace, project: Path, datasets: dict[str, Path], tmp_path: Path
) -> None:
    if trained.name != BUNDLES[1]:
        pytest.skip("one bundle is enough")
    ok(train(trained.name, tmp_path / "other", epochs=1, learning_rate=3e-4))
    made = make_soup(
        project / "bundles" / trained.name,
        [trained.folder, tmp_path / "other"],
        datasets[trained.name],
        tmp_path / "soup",
        uniform=True,
    )
    assert len(made.members) == 2
    content = json.loads((tmp_path / "soup" / "calibration.json").read_text())
    assert content["model_sha256"] == sha256(tmp_path / "soup" / "model.pt")


def test_the_moving_average_is_what_is_saved(train: Run, tmp_path: Path) -> None:
    ok(train(BUNDLES[1], tmp_path, epochs=2, ema=0.9, calibrate="false"))
    last = read_checkpoint(tmp_path / "last.ckpt")
    assert last["average"]["decay"] == 0.9
    assert last["average"]["average"], "no average was kept"
    if last["best_epoch"] == 2:
        assert not torch.equal(
            tensors(tmp_path / "model.pt")["class_head.1.weight"], last["network"]["class_head.1.weight"]
        )


def test_inference_gives_what_evaluation_gives(
    run: Run, trained: SimpleNamespace, datasets: dict[str, Path], tmp_path: Path
) -> None:
    size = {"image_size": QUICK[trained.name]["image_size"]}
    config = "['configs/train.json','configs/evaluate.json']"
    ok(run(trained.name, config, tmp_path / "eval", ckpt_dir=trained.folder, **size))
    ok(run(trained.name, "configs/inference.json", tmp_path, ckpt_path=trained.folder / "model.pt", **size))
    predicted = json.loads((tmp_path / "predictions.json").read_text())["predictions"]
    assert len(predicted) == sum(COUNTS.values())
    scores = {row["case"]: list(row["probabilities"].values())[1] for row in predicted}
    for row in csv.DictReader((tmp_path / "eval" / "metrics.csv").open()):
        assert scores[row["case"]] == pytest.approx(float(list(row.values())[-1]), abs=2e-6)
    assert str(datasets[trained.name]) not in (tmp_path / "predictions.csv").read_text()


@pytest.mark.parametrize("name", BUNDLES)
def test_without_weights_or_data(run: Run, name: str, tmp_path: Path) -> None:
    finished = run(name, "configs/inference.json", tmp_path, ckpt_path=tmp_path / "model.pt")
    assert finished.code != 0
    assert "no trained weights" in finished.output
    assert "--config_file configs/train.json" in finished.output
    finished = run(name, "configs/train.json", tmp_path, dataset_dir=tmp_path / "absent")
    assert finished.code != 0
    assert list(tmp_path.iterdir()) == []


def test_coloured_slices_are_refused_or_made_grey_on_demand(
    train: Run, datasets: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(datasets[BUNDLES[0]], tmp_path / "data"))
    for case in ("training_0", "validation_1"):
        image = Image.open(folder / "images" / f"{case}.png").convert("RGB")
        image.putpixel((5, 5), (250, 20, 20))
        image.save(folder / "images" / f"{case}.png")
    finished = train(BUNDLES[0], tmp_path / "run", dataset_dir=folder)
    assert finished.code != 0
    assert "case training_0: training_0.png: the picture is coloured" in finished.output
    ok(train(BUNDLES[0], tmp_path / "run", dataset_dir=folder, colour="luminance"))


@pytest.mark.parametrize("kind", ["train", "inference"])
@pytest.mark.parametrize("name", BUNDLES)
def test_as_a_workflow_with_all_properties(
    project: Path, datasets: dict[str, Path], name: str, kind: str, tmp_path: Path
) -> None:
    bundle = project / "bundles" / name
    knobs = {**QUICK[name], "image_size": json.loads(str(QUICK[name]["image_size"]))}
    made = ConfigWorkflow(
        config_file=str(bundle / "configs" / f"{kind}.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(bundle),
        dataset_dir=str(datasets[name]),
        output_dir=str(tmp_path),
        **{key: value for key, value in knobs.items() if kind == "train" or key == "image_size"},
    )
    made.initialize()
    assert made.check_properties() == []
    if kind == "train":
        made.run()
        assert (tmp_path / "model.pt").is_file()
    made.finalize()


def config(project: Path, name: str, kind: str) -> dict[str, Any]:
    return json.loads((project / "bundles" / name / "configs" / f"{kind}.json").read_text())


@pytest.mark.parametrize("name", BUNDLES)
def test_metadata_agrees_with_network_and_configurations(project: Path, name: str) -> None:
    metadata = config(project, name, "metadata")
    pred = metadata["network_data_format"]["outputs"]["pred"]
    image = metadata["network_data_format"]["inputs"]["image"]
    network = build_network(config(project, name, "inference")["network"]["name"], out_channels=2).eval()
    with torch.no_grad():
        output = network(torch.zeros(1, image["num_channels"], *image["spatial_shape"]))
    assert list(output.shape) == pred["spatial_shape"]
    assert (pred["type"], pred["format"]) == ("probabilities", "classes")
    for kind in ("inference", "evaluate"):
        assert config(project, name, kind)["class_names"] == pred["channel_def"]
    assert "classification" in name
    assert "label" not in json.dumps(config(project, name, "inference"))


def test_the_knobs_are_those_of_the_segmentation_bundle(project: Path) -> None:
    model = config(project, "hippocampus_mri_segmentation", "train")
    own = {"patch_size", "label_values", "label_names", "both", "spacing", "bias_field", "out_channels"}
    for name in BUNDLES:
        train = config(project, name, "train")
        assert set(model) - own <= set(train)
        handlers = [[row["_target_"] for row in one["train"]["handlers"]] for one in (model, train)]
        assert handlers[0] == handlers[1]
        knobs = ("source", "commercial", "reestimate_norm", "strategy", "labelled", "seed", "resume", "val_interval")
        assert [train[knob] for knob in knobs] == [model[knob] for knob in knobs]


@pytest.mark.parametrize("name", BUNDLES)
def test_shipped_weights_are_what_their_calibration_says(project: Path, name: str) -> None:
    """Flat, of the default network, with the lineage of their source in the metadata."""
    models = project / "bundles" / name / "models"
    content = json.loads((models / "calibration.json").read_text())
    assert content["model_sha256"] == sha256(models / "model.pt")
    network = build_network(config(project, name, "inference")["network"]["name"], out_channels=2)
    network.load_state_dict(torch.load(models / "model.pt", weights_only=True))
    (source,) = config(project, name, "metadata")["weights_lineage"]
    assert (source["source"], source["licence"]) == ("imagenet_squeezenet1_0_pruned", "BSD-2-Clause")


def test_the_temperature_is_fitted_on_the_cases_of_all_processes(
    project: Path, datasets: dict[str, Path], tmp_path: Path
) -> None:
    """Two processes judge two validation cases each; the first, which writes, knows of all four."""
    module = ["torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2", "-m", "monai.bundle"]
    options = {
        "config_file": "['configs/train.json','configs/multi_gpu_train.json']",
        "dataset_dir": datasets[BUNDLES[1]],
        "output_dir": tmp_path,
        **QUICK[BUNDLES[1]],
    }
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *module, *map(str, words("run", options))],
        cwd=project / "bundles" / BUNDLES[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert content["cases_per_class"] == [2, 2]
    assert content["model_sha256"] == sha256(tmp_path / "model.pt")
