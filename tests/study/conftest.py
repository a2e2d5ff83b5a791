"""The toy bundle's data, and quick workers."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from study_commands import Place

from medtl_monai.data.datalist import FORMAT
from medtl_monai.study import workers


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
