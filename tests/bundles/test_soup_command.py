"""A soup of trainings of the bundle: never worse than its best member, plain, with its lineage; misfits are refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundle_commands import Finished

from medtl_monai.cli import main
from medtl_monai.errors import ConfigError
from medtl_monai.weights.licence import Lineage, lineage_of_file, record_lineage
from medtl_monai.weights.read import read_state
from medtl_monai.workflows.soup import make_soup


@pytest.fixture(scope="module")
def runs(
    command: Callable[..., Finished], cohort: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two trainings from the bundle's own model, at two rates; a third one with another seed."""
    place = tmp_path_factory.mktemp("soup")
    found = []
    for name, rate, seed in (("slow", 1e-4, 0), ("fast", 1e-3, 0), ("other", 1e-4, 1)):
        finished = command(
            "run",
            config_file="configs/train.json",
            dataset_dir=cohort,
            output_dir=place / name,
            source=bundle / "models" / "model.pt",
            learning_rate=rate,
            seed=seed,
            epochs=1,
            patch_size="[16,16,16]",
            val_at_start="false",
        )
        assert finished.code == 0, finished.output[-3000:]
        found.append(place / name)
    return found


def metric(run: Path) -> float:
    return float(list(csv.DictReader((run / "curves.csv").open()))[-1]["val_mean_dice"])


def test_greedy_is_never_worse_than_the_best_training(
    runs: list[Path], bundle: Path, cohort: Path, tmp_path: Path
) -> None:
    slow, fast, _ = runs
    entry = Lineage("imagenet_vit_b_16_swag", "CC-BY-NC-4.0", False)
    record_lineage(slow / "model.pt", [entry])
    made = make_soup(bundle, [slow, fast], cohort, tmp_path)
    assert made.scores == {run.name: pytest.approx(metric(run), abs=1e-4) for run in (slow, fast)}
    assert made.score >= max(made.scores.values())
    members = [read_state(run / "model.pt") for run in (slow, fast) if run.name in made.members]
    soup = read_state(tmp_path / "model.pt")
    for name, tensor in soup.items():
        torch.testing.assert_close(tensor, torch.stack([own[name].double() for own in members]).mean(0).float())
    assert (lineage_of_file(tmp_path / "model.pt") == (entry,)) == ("slow" in made.members)
    record = json.loads((tmp_path / "soup.json").read_text())
    assert (record["members"], record["cases"], record["metric"]) == (list(made.members), 2, "val_mean_dice")


def test_uniform_takes_all(
    runs: list[Path], bundle: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run) for run in runs[:2]]
    options = ["--bundle", str(bundle), "--data", str(cohort), "--output", str(tmp_path), "--uniform"]
    assert main(["soup", *words, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(":")[0] for line in lines[:2]} == {"in  slow", "in  fast"}
    states = [read_state(run / "model.pt") for run in runs[:2]]
    soup = read_state(tmp_path / "model.pt")
    name = "stem.0.0.weight"
    torch.testing.assert_close(soup[name], (states[0][name] + states[1][name]) / 2)


def test_misfits_are_refused(runs: list[Path], bundle: Path, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"close enough.*other: seed 1"):
        make_soup(bundle, [runs[0], runs[2]], cohort, tmp_path)
    with pytest.raises(ConfigError, match="several trainings"):
        make_soup(bundle, [runs[0]], cohort, tmp_path)
    shutil.copytree(runs[0], tmp_path / "unrecorded")
    (tmp_path / "unrecorded" / "run.json").unlink()
    with pytest.raises(ConfigError, match="no record of a training"):
        make_soup(bundle, [runs[0], tmp_path / "unrecorded"], cohort, tmp_path)
    assert not (tmp_path / "model.pt").exists()
