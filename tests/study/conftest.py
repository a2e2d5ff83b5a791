"""The toy bundle with its data, and studies through the command line."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from medtl_monai.data.datalist import FORMAT
from medtl_monai.study import workers

TOY = Path(__file__).parent / "toy"


@dataclass(frozen=True)
class Place:
    """Folder of a study's data and sources, and the words of a command that needs no time."""

    root: Path

    def words(self, output: str, **changes: object) -> list[str]:
        """The command line; ``changes`` replace options, None removes one, True is a flag."""
        options: dict[str, object] = {
            "bundle": TOY,
            "data": self.root,
            "sources": self.root / "good.pt",
            "strategies": "fine_tune",
            "labelled": "2,4",
            "seeds": 3,
            "rates": "3e-4,1e-3,3e-3",
            "converged": 2,
            "converged_seeds": 2,
            "jobs": 1,
            "output": self.root / output,
        }
        found = ["study"]
        for name, value in {**options, **changes}.items():
            if value is not None:
                found += [f"--{name.replace('_', '-')}", *([] if value is True else str(value).split(" "))]
        return found


def launch(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command in a process of its own, with a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "medtl_monai.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of studies in this process fork from a clean server that has torch; `launch` shows the usual start."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.get_context("forkserver").set_forkserver_preload(["medtl_monai.study.training"])
        monkeypatch.setattr(workers, "START_METHOD", "forkserver")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A datalist of eight training cases, whose files nobody opens, and four sources."""
    rows = [{"case": f"c{n}", "image": f"images/c{n}.nii.gz", "label": f"labels/c{n}.nii.gz"} for n in range(12)]
    content = {
        "format": FORMAT,
        "labels": {"0": "background", "1": "organ"},
        "seed": 0,
        "training": rows[:8],
        "validation": rows[8:10],
        "test": rows[10:],
    }
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    for name in ("good", "broken", "nan", "killed"):
        (tmp_path / f"{name}.pt").touch()
    return Place(tmp_path)
