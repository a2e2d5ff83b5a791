"""Negative transfer, planted: a dead source loses against scratch, and the training says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from bundle_commands import Finished

from medtl_monai.networks.factory import build_network
from medtl_monai.weights.licence import lineage_of_file
from medtl_monai.weights.read import read_state


def test_a_dead_source_loses_against_scratch(train: Callable[..., Finished], tmp_path: Path) -> None:
    dead = {
        name: torch.zeros_like(tensor) for name, tensor in build_network("unet", out_channels=3).state_dict().items()
    }
    torch.save(dead, tmp_path / "dead.pt")
    folder = tmp_path / "run"
    finished = train(folder, source=tmp_path / "dead.pt", guard="true", learning_rate=1e-9)
    assert finished.code == 0, finished.output[-4000:]
    assert "negative transfer: the model trained from scratch is kept" in finished.output
    found = json.loads((folder / "guard.json").read_text())
    metrics = [json.loads((place / "run.json").read_text())["metrics"] for place in (folder, folder / "scratch")]
    assert (found["transfer"], found["scratch"]) == tuple(row["best_validation"] for row in metrics)
    assert (found["kept"], found["cases"], found["transfer"]) == ("scratch", 2, 0.0)
    assert (folder / "model.pt").read_bytes() == (folder / "scratch" / "model.pt").read_bytes()
    assert all(not tensor.any() for tensor in read_state(folder / "model_transferred.pt").values())
    assert lineage_of_file(folder / "model.pt") == ()
    record = json.loads((folder / "scratch" / "run.json").read_text())
    assert (record["config"]["settings"]["source"], record["config"]["bundle"]["guard"]) == ("scratch", False)
