"""The record of a training: finished, failed, stopped, and where it cannot be written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from toy import Toy, images

from medtl_monai.errors import MedTLError, OutputError
from medtl_monai.inference.precision import resolve_precision
from medtl_monai.provenance import validate_record
from medtl_monai.weights.load import LoadReport
from medtl_monai.workflows.guard import FiniteLoss
from medtl_monai.workflows.record import RecordRun

REPORT = LoadReport("my weights", "ab" * 32, ("a",), ("head",), (), (), (), (), 10, 12)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "patients of Dr. Who"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "scan.nii.gz").write_bytes(kind.encode())
    return folder


def recorder(folder: Path, dataset: Path, report: LoadReport | None = None, **case: str) -> RecordRun:
    row = {key: str(dataset / f"{key}s" / "scan.nii.gz") for key in ("image", "label")} | case
    return RecordRun(str(folder), {"seed": 5, "source": "runs/x.pt"}, str(dataset), {"training": [row]}, report)


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_a_finished_run(tmp_path: Path, dataset: Path) -> None:
    states = []
    toy = Toy().attach(recorder(tmp_path / "new", dataset, REPORT, case="patient 7"))
    toy.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: states.append(content(tmp_path / "new")["state"])
    )
    toy.complete(tmp_path / "new").run()
    record = content(tmp_path / "new")
    assert validate_record(record) == []
    assert states == ["running"] * 4
    assert (record["state"], record["error"], record["seeds"]) == ("finished", None, {"seed": 5})
    assert record["metrics"]["epochs"] == 4
    assert record["metrics"]["best_validation"] == toy.trainer.state.best[0]
    (row,) = record["data"]["training"]
    digests = {f"{key}_sha256": hashlib.sha256(f"{key}s".encode()).hexdigest() for key in ("image", "label")}
    assert row == {"case": "patient 7", "image": "images/scan.nii.gz", "label": "labels/scan.nii.gz", **digests}
    (weights,) = record["weights"]
    assert (weights["name"], weights["sha256"]) == ("my weights", "ab" * 32)
    assert weights["report"]["loaded"] == ["a"]
    assert [entry["licence"] for entry in weights["lineage"]] == [None]


def test_a_case_without_a_name_is_named_by_its_file_and_no_folder_is_stored(tmp_path: Path, dataset: Path) -> None:
    Toy(epochs=1).attach(recorder(tmp_path / "out", dataset)).run()
    assert content(tmp_path / "out")["data"]["training"][0]["case"] == "scan"
    assert content(tmp_path / "out")["metrics"] == {"epochs": 1}  # nothing was judged: no best is claimed
    text = (tmp_path / "out" / "run.json").read_text()
    assert str(tmp_path) not in text
    assert "Dr. Who" not in text


def test_a_failed_run_keeps_its_own_error(tmp_path: Path, dataset: Path) -> None:
    data = images()
    data[0]["image"][:] = np.nan
    with pytest.raises(MedTLError, match="loss is not finite") as caught:
        Toy(data=data).attach(recorder(tmp_path, dataset), FiniteLoss()).run()
    record = content(tmp_path)
    assert validate_record(record) == []
    assert record["state"] == "failed"
    assert record["error"]["type"] == "MedTLError"
    assert "case_0" in record["error"]["text"]
    # ignite reports an error twice; closing the record a second time must not put another error in its place
    assert caught.value.__context__ is None


def test_a_run_stopped_by_hand(tmp_path: Path, dataset: Path) -> None:
    def interrupt(engine: object) -> None:
        raise KeyboardInterrupt

    toy = Toy().attach(recorder(tmp_path, dataset))
    toy.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), interrupt)
    with pytest.raises(KeyboardInterrupt):
        toy.run()
    record = content(tmp_path)
    assert validate_record(record) == []
    assert record["state"] == "stopped"


def test_a_missing_data_file_fails_before_any_work(tmp_path: Path, dataset: Path) -> None:
    (dataset / "labels" / "scan.nii.gz").unlink()
    toy = Toy().attach(recorder(tmp_path, dataset))
    with pytest.raises(MedTLError, match="cannot read the file"):
        toy.run()
    assert toy.trainer.state.epoch == 0
    assert content(tmp_path)["state"] == "failed"


def test_a_folder_that_cannot_be_written_to_fails_before_any_work(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "run.json").mkdir()  # for root, permissions would not do
    toy = Toy().attach(recorder(tmp_path, dataset))
    with pytest.raises(OutputError, match=r"run\.json"):
        toy.run()
    assert toy.trainer.state.epoch == 0


def test_a_full_disk_at_the_end_does_not_hide_the_error(
    tmp_path: Path, dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(engine: object) -> None:
        (tmp_path / "run.json").unlink()
        (tmp_path / "run.json").mkdir()
        raise ValueError("the real one")

    toy = Toy().attach(recorder(tmp_path, dataset))
    toy.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), break_down)
    with pytest.raises(ValueError, match="the real one"):
        toy.run()
    assert "could not be recorded" in caplog.text


def test_two_runs_in_a_row_are_two_records(tmp_path: Path, dataset: Path) -> None:
    toy = Toy(epochs=1).attach(recorder(tmp_path, dataset))
    toy.run()
    first = content(tmp_path)["started"]
    toy.trainer.state.epoch = 0
    toy.run()
    assert content(tmp_path)["started"] > first
    assert content(tmp_path)["state"] == "finished"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_the_precision_really_used_is_recorded(tmp_path: Path, precision: str) -> None:
    handler = RecordRun(str(tmp_path / "out"), {"precision": precision}, str(tmp_path), {}, None)
    toy = Toy()
    toy.attach(handler).run()
    used = content(tmp_path / "out")["config"]["settings"]["precision_used"]
    assert used == resolve_precision(precision, torch.device("cpu"))
    assert used != "auto"
