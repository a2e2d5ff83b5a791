"""Training through the command line: what it leaves behind, what it repeats, and what MONAI Label does with it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bundle_commands import QUICK, Finished, Running
from monai.bundle import ConfigWorkflow

from medtl_monai.data.datalist import Datalist
from medtl_monai.networks.factory import build_network
from medtl_monai.provenance import validate_record
from medtl_monai.transfer.source import load_source
from medtl_monai.workflows.checkpoint_files import read_checkpoint

Train = Callable[..., Finished]
Workflow = Callable[..., ConfigWorkflow]


def ok(finished: Finished) -> Finished:
    assert finished.code == 0, finished.output[-4000:]
    return finished


def tensors(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return content.get("network", content)


def changed(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> set[str]:
    """Top-level modules whose tensors differ."""
    assert list(first) == list(second)
    return {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_a_training_leaves_behind(trained: SimpleNamespace, cohort: Path) -> None:
    folder = trained.folder
    files = ["curves.csv", "last.ckpt", "model.pt", "model.pt.lineage.json", "run.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    rows = list(csv.DictReader((folder / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    run = record(folder)
    assert validate_record(run) == []
    assert (run["state"], run["error"], run["weights"], run["seeds"]) == ("finished", None, [], {"seed": 0})
    assert run["metrics"]["best_validation"] == pytest.approx(
        max(float(row["val_mean_dice"]) for row in rows), abs=1e-5
    )
    assert run["config"]["settings"]["network"] == "unet"
    assert run["config"]["settings"]["precision_used"] in ("float32", "bfloat16")
    assert run["config"]["bundle"]["patch_size"] == [16, 16, 16]
    splits = Datalist.load(cohort / "datalist.json").splits
    for split in ("training", "validation"):
        expected = [
            {"case": case.case, "image": case.image, "label": case.label}
            | {"image_sha256": sha256(cohort / case.image), "label_sha256": sha256(cohort / case.label)}
            for case in splits[split]
        ]
        assert run["data"][split] == expected
    assert str(cohort.parent) not in (folder / "run.json").read_text()
    assert str(folder.parent) not in (folder / "run.json").read_text()


def test_same_seed_same_files_other_seed_others(train: Train, trained: SimpleNamespace, tmp_path: Path) -> None:
    ok(train(tmp_path / "again", epochs=2))
    for name in ("model.pt", "last.ckpt"):
        assert sha256(tmp_path / "again" / name) == sha256(trained.folder / name)
    ok(train(tmp_path / "other", epochs=2, seed=1))
    assert changed(tensors(tmp_path / "other" / "last.ckpt"), tensors(trained.folder / "last.ckpt"))


def test_killed_and_resumed_equals_uninterrupted(
    train: Train, start: Callable[..., Running], cohort: Path, tmp_path: Path
) -> None:
    ok(train(tmp_path / "whole", epochs=4))
    parts = tmp_path / "parts"
    options = {"config_file": "configs/train.json", "dataset_dir": cohort, "output_dir": parts, **QUICK, "epochs": 4}
    running = start("run", **options)
    while not (parts / "last.ckpt").exists() or read_checkpoint(parts / "last.ckpt")["epoch"] < 1:
        assert running.process.is_alive(), running.finish().output[-3000:]
        time.sleep(0.01)
    running.process.kill()
    assert running.finish().code == -9
    assert record(parts)["state"] == "running"  # nothing claims that it ended well
    finished = train(parts, epochs=6, resume="true")
    assert finished.code == 1
    assert "4 epochs there, 6 now" in finished.output
    ok(train(parts, epochs=4, resume="true"))
    for name in ("model.pt", "last.ckpt"):
        assert sha256(parts / name) == sha256(tmp_path / "whole" / name)
    whole, resumed = (list(csv.DictReader((tmp_path / name / "curves.csv").open())) for name in ("whole", "parts"))
    for first, second in zip(whole, resumed, strict=True):
        assert {**first, "seconds": ""} == {**second, "seconds": ""}


def test_a_file_as_source_and_a_probe_of_its_head(train: Train, trained: SimpleNamespace, tmp_path: Path) -> None:
    source = trained.folder / "model.pt"
    finished = ok(train(tmp_path, source=source, strategy="linear_probe"))
    assert re.search(r"parameters loaded +([\d,]+) of \1 ", finished.output)
    assert changed(tensors(tmp_path / "last.ckpt"), tensors(source)) == {"head_conv"}
    (row,) = record(tmp_path)["weights"]
    assert (row["name"], row["sha256"]) == ("model.pt", sha256(source))
    assert row["report"]["parameter_share"] == 1.0


@pytest.fixture
def two_scans(cohort: Path, tmp_path: Path) -> Path:
    """A datalist of one training and one validation case."""
    content = json.loads((cohort / "datalist.json").read_text())
    content["training"], content["validation"] = content["training"][:1], content["validation"][:1]
    (tmp_path / "two.json").write_text(json.dumps(content))
    return tmp_path / "two.json"


def test_the_published_network_and_weights(train: Train, real_weights: Path, two_scans: Path, tmp_path: Path) -> None:
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    knobs = {"source": "highres3dnet_gif", "strategy": "linear_probe", "datalist": two_scans}
    ok(train(tmp_path, environment=environment, val_at_start="false", **knobs))
    run = record(tmp_path)
    assert run["config"]["settings"]["network"] == "highres3dnet"
    assert run["weights"][0]["licence"] == "MIT"
    file = next(real_weights.rglob("highres3dnet_li_parameters-*.pth"))
    assert run["weights"][0]["sha256"] == sha256(file)
    values = {tensor.double().sum().item() for tensor in torch.load(file, weights_only=True).values()}
    last = tensors(tmp_path / "last.ckpt")
    body = [name for name in last if not name.startswith("blocks.11.")]
    assert len(body) > 100
    assert all(last[name].double().sum().item() in values for name in body)


def test_an_inflated_imagenet_network_from_training_to_mask(
    train: Train, command: Train, real_weights: Path, two_scans: Path, bundle_copy: Path, series: Path, tmp_path: Path
) -> None:
    """ImageNet weights in 3D, with the lineage in three places, and a mask from the model that comes out."""
    source, models = "imagenet_squeezenet1_0_pruned", bundle_copy / "models"
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    knobs = {"source": source, "commercial": "true", "datalist": two_scans, "val_at_start": "false"}
    ok(train(models, environment=environment, **knobs))
    run = record(models)
    assert run["config"]["settings"]["network"] == "unet_squeezenet1_0_i3d"
    (weights,) = run["weights"]
    assert (weights["report"]["missing"], len(weights["report"]["adapted"])) == (
        [],
        25,
    )  # the stem, and three convolutions in each of eight fire modules
    metadata = json.loads((bundle_copy / "configs" / "metadata.json").read_text())
    sidecar = json.loads((models / "model.pt.lineage.json").read_text())
    assert metadata["weights_lineage"] == sidecar["weights_lineage"] == weights["lineage"]
    assert [parent["source"] for parent in weights["lineage"]] == [source]
    options = {"config_file": "configs/inference.json", "network": "unet_squeezenet1_0_i3d", "dataset_dir": series}
    ok(command("run", folder=bundle_copy, output_dir=tmp_path, **options))
    assert len(list(tmp_path.glob("*.nii.gz"))) == 1


@pytest.mark.parametrize(
    "strategy", ["freeze_to_stage2", "llrd", "gradual_unfreeze", "l2_sp", "lora", "ssf", "bitfit", "scratch"]
)
def test_every_strategy_by_one_word(
    train: Train, real_weights: Path, two_scans: Path, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains through the command line, what it freezes stands still, and the model it leaves is a plain network."""
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    network, source = "unet_squeezenet1_0_i3d", "imagenet_squeezenet1_0_pruned"
    knobs = {"network": network, "source": source, "strategy": strategy, "datalist": two_scans, "val_at_start": "false"}
    ok(train(tmp_path, environment=environment, **knobs))
    before = build_network(network, out_channels=3, seed=0).state_dict()
    after = tensors(tmp_path / "model.pt")
    assert {name: tensor.shape for name, tensor in after.items()} == {n: t.shape for n, t in before.items()}
    loaded = build_network(network, out_channels=3, seed=0)
    monkeypatch.setenv("MEDTL_WEIGHTS", environment["MEDTL_WEIGHTS"])
    load_source(loaded, source)
    moved = {
        loaded.stage_of(name) for name, tensor in loaded.state_dict().items() if not torch.equal(tensor, after[name])
    }
    body = [stage for stage in loaded.stages if stage not in loaded.task_stages]
    assert {"decoder", "head"} <= moved
    still = {"freeze_to_stage2": body[: body.index("stage2") + 1], "gradual_unfreeze": body}.get(strategy, [])
    assert not moved & set(still)
    if not still and strategy != "ssf":
        assert moved == set(loaded.stages)


@pytest.mark.parametrize(("strategy", "rows"), [("cached_probe", ["0", "1"]), ("lp_ft", ["0", "1", "2"])])
def test_probes_on_features_computed_once(
    train: Train, real_weights: Path, tmp_path: Path, strategy: str, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    knobs = {"source": "highres3dnet_gif", "strategy": strategy, "epochs": 2, "val_at_start": "false"}
    finished = ok(train(tmp_path, environment=environment, **knobs))
    fitted = r"head fitted: linear head by L-BFGS, penalty 0.001 \(fixed.*\) on 4 cases: .* converged"
    assert re.search(fitted, finished.output)
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "curves.csv").open())] == rows
    loaded = build_network("highres3dnet", out_channels=3, seed=0)
    monkeypatch.setenv("MEDTL_WEIGHTS", environment["MEDTL_WEIGHTS"])
    load_source(loaded, "highres3dnet_gif")
    after = tensors(tmp_path / "last.ckpt")
    moved = {
        loaded.stage_of(name) for name, value in loaded.state_dict().items() if not torch.equal(value, after[name])
    }
    assert moved == ({"head"} if strategy == "cached_probe" else set(loaded.stages))


def test_a_classical_classifier_brings_its_own_network(train: Train, real_weights: Path, tmp_path: Path) -> None:
    environment = {"MEDTL_WEIGHTS": str(real_weights), "MEDTL_OFFLINE": "1"}
    ok(
        train(
            tmp_path,
            environment=environment,
            source="imagenet_squeezenet1_0_pruned",
            strategy="features_logistic",
            epochs=5,
        )
    )
    assert record(tmp_path)["config"]["settings"]["network"] == "dense_squeezenet1_0_i3d"
    own = build_network("dense_squeezenet1_0_i3d", out_channels=3).state_dict()
    assert {n: t.shape for n, t in tensors(tmp_path / "model.pt").items()} == {n: t.shape for n, t in own.items()}
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["val_mean_dice"]) > 0.2


@pytest.mark.parametrize("network", ["unet", "highres3dnet", "unet_medicalnet_resnet10"])
def test_networks_by_name(train: Train, two_scans: Path, tmp_path: Path, network: str) -> None:
    ok(train(tmp_path, network=network, datalist=two_scans, val_at_start="false"))
    own = build_network(network, out_channels=3).state_dict()
    trained = tensors(tmp_path / "model.pt")
    assert {name: tensor.shape for name, tensor in trained.items()} == {n: t.shape for n, t in own.items()}


def test_a_worsening_training_leaves_its_starting_weights(
    train: Train, bundle: Path, trained: SimpleNamespace, tmp_path: Path
) -> None:
    earlier = (trained.folder / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(earlier)
    ok(train(tmp_path, source=bundle / "models" / "model.pt", learning_rate=1.0, epochs=2))
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert float(rows[0]["val_mean_dice"]) > max(float(row["val_mean_dice"]) for row in rows[1:])
    assert not changed(tensors(tmp_path / "model.pt"), tensors(bundle / "models" / "model.pt"))
    assert changed(tensors(tmp_path / "last.ckpt"), tensors(tmp_path / "model.pt"))
    assert (tmp_path / "model_previous.pt").read_bytes() == earlier
    assert record(tmp_path)["metrics"]["best_epoch"] == 0


def test_a_loss_that_is_no_number(train: Train, tmp_path: Path) -> None:
    finished = train(tmp_path, learning_rate=1e30)
    assert finished.code == 1
    assert "the training loss is not finite" in finished.output
    assert "has ended and cannot be changed" not in finished.output
    run = record(tmp_path)
    assert validate_record(run) == []
    assert (run["state"], run["error"]["type"]) == ("failed", "MedTLError")
    assert "case_" in run["error"]["text"]
    assert all(torch.isfinite(tensor).all() for tensor in tensors(tmp_path / "model.pt").values())
    assert not (tmp_path / "last.ckpt").exists()


def test_a_full_disk(train: Train, tiny_disk: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tiny_disk / "model.pt")
    before = (tiny_disk / "model.pt").read_bytes()
    finished = train(tiny_disk)
    assert finished.code == 1
    assert "ENOSPC" in finished.output
    assert (tiny_disk / "model.pt").read_bytes() == before
    run = record(tiny_disk)
    assert (run["state"], run["error"]["type"]) == ("failed", "OutputError")
    assert not list(tiny_disk.glob(".*"))


def label_request(bundle: Path, cohort: Path, cases: int) -> dict[str, Any]:
    """What MONAI Label overrides: bare pairs, epochs, the device as a text, and a loader of the present model."""
    splits = Datalist.load(cohort / "datalist.json").splits
    rows = [{"image": str(cohort / case.image), "label": str(cohort / case.label)} for case in splits["training"]]
    train = json.loads((bundle / "configs" / "train.json").read_text())["train"]
    loader = {"_target_": "CheckpointLoader", "load_path": str(bundle / "models" / "model.pt")}
    return {
        "bundle_root": str(bundle),
        "device": "cpu",
        "patch_size": [16, 16, 16],
        "train#dataset#data": rows[:cases],
        "validate#dataset#data": rows[cases : cases + 1],
        "train#trainer#max_epochs": 1,
        "train#handlers": [{**loader, "load_dict": {"model": "$@network"}}, *train["handlers"]],
    }


def label_training(bundle: Path, cohort: Path, cases: int, **settings: object) -> None:
    """Run the whole configuration as MONAI Label does for a request from 3D Slicer (``run_id`` is empty)."""
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "train.json"),
        logging_file=False,
        run_id="",
        workflow_type="train",
        **label_request(bundle, cohort, cases),
        **settings,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def test_label_continues_from_the_present_model(bundle_copy: Path, cohort: Path) -> None:
    models = bundle_copy / "models"
    before = tensors(models / "model.pt")
    label_training(bundle_copy, cohort, 3, learning_rate=0.0)
    assert not changed(tensors(models / "last.ckpt"), before)  # no step: what was trained is what was there
    assert not changed(tensors(models / "model_previous.pt"), before)
    rows = list(csv.DictReader((models / "curves.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert record(models)["data"]["training"][0]["case"].startswith("case_")


def test_label_with_few_scans_and_none_to_validate_saves_what_it_trained(bundle_copy: Path, cohort: Path) -> None:
    models = bundle_copy / "models"
    before = tensors(models / "model.pt")
    label_training(bundle_copy, cohort, 4)
    assert changed(tensors(models / "model.pt"), before)
    assert not changed(tensors(models / "model.pt"), tensors(models / "last.ckpt"))
    assert not changed(tensors(models / "model_previous.pt"), before)
    assert record(models)["metrics"] == {"epochs": 1}
