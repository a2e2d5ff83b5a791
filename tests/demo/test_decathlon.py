"""Tasks of the Decathlon from a server of our own, through MONAI's downloader."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from monai.apps import DecathlonDataset

from medtl_monai.cli import main
from medtl_monai.data.datalist import Datalist
from medtl_monai.data.phantom import write_cohort
from medtl_monai.demo.decathlon import download_task
from medtl_monai.errors import FormatError

TASK = "Task09_Spleen"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive of a task, as it is published, and its address."""
    made, folder = tmp_path / "made", tmp_path / "served"
    write_cohort(made, range(10), contrast="target", prefix="spleen")
    folder.mkdir()
    (made / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "spleen", "2": "other"}}))
    archive = folder / f"{TASK}.tar"
    with tarfile.open(archive, "w") as tar:
        for old, new in (("images", "imagesTr"), ("labels", "labelsTr"), ("dataset.json", "dataset.json")):
            tar.add(made / old, f"{TASK}/{new}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(DecathlonDataset.resource, TASK, f"http://127.0.0.1:{server.server_address[1]}/{archive.name}")
    monkeypatch.setitem(DecathlonDataset.md5, TASK, hashlib.md5(archive.read_bytes()).hexdigest())
    yield archive
    server.shutdown()


def test_a_task_becomes_a_dataset_folder(served: Path, tmp_path: Path) -> None:
    assert main(["download", TASK, str(tmp_path / "data")]) == 0
    datalist = Datalist.load(tmp_path / "data" / TASK / "datalist.json")
    assert {split: len(cases) for split, cases in datalist.splits.items()} == {
        "training": 7,
        "validation": 1,
        "test": 2,
    }
    assert datalist.labels == {0: "background", 1: "spleen", 2: "other"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == [TASK]  # nothing half-way is left
    served.unlink()
    said: list[str] = []
    download_task(TASK, tmp_path / "data", said.append)  # complete: no download
    assert said == [f"{tmp_path / 'data' / TASK} is complete"]


def test_a_damaged_archive_is_refused(served: Path, tmp_path: Path) -> None:
    served.write_bytes(served.read_bytes()[:-600] + b"x" * 600)
    with pytest.raises(FormatError, match="could not be downloaded whole"):
        download_task(TASK, tmp_path / "data", lambda text: None)
    assert not (tmp_path / "data" / TASK).exists()
    assert not (tmp_path / "data" / f"{TASK}.tar").exists()


@pytest.mark.parametrize(
    ("task", "words"), [("Task9_Spleen", "no such task"), ("Task01_BrainTumour", "several channels")]
)
def test_refusals(task: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", task, str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
