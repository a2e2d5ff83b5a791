"""The side-by-side table of the benchmark ``faithful_weights``: its quick rows run, and it cannot flatter anybody."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

QUICK = ("F1-efficientnet-b0", "F2", "F5", "K2", "K3", "damage")


@pytest.fixture(scope="module")
def program(project: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        import faithful_weights

        yield faithful_weights


def run(program: ModuleType, output: Path, *words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["faithful_weights.py", "--output", str(output), *words])
        return program.main()


@pytest.fixture(scope="module")
def rows(program: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    output = tmp_path_factory.mktemp("faithful") / "result.json"
    assert run(program, output, "--rows", *QUICK) == 0
    return {row["key"]: row for row in json.loads(output.read_text())["rows"]}


@pytest.mark.parametrize("key", QUICK)
def test_the_defect_and_its_absence(rows: dict[str, dict[str, Any]], key: str) -> None:
    row = rows[key]
    assert row["ours_ok"], row["ours_text"]
    if not row["defect_shown"]:
        pytest.skip(f"the installed MONAI no longer shows it: {row['monai_text']}")


def test_a_claim_that_does_not_hold_ends_with_1(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = program.ROWS["F5"](tmp_path)
    monkeypatch.setitem(program.ROWS, "F5", lambda folder: replace(row, ours_ok=False))
    assert run(program, tmp_path / "result.json", "--rows", "F5") == 1
    assert "**NO**" in (tmp_path / "result.md").read_text()


def test_an_alarm_would_be_counted(program: ModuleType) -> None:
    from faithful.row import alarms

    with alarms() as texts:
        warnings.warn("a stem stays random", UserWarning, stacklevel=1)
        warnings.warn("old name", DeprecationWarning, stacklevel=1)
        logging.getLogger("monai.networks").warning("0 of 8 loaded")
        logging.getLogger("monai.networks").info("0 of 8 loaded")
    assert sorted(texts) == ["0 of 8 loaded", "a stem stays random"]


@pytest.mark.parametrize(("depth", "tensors", "parameters"), [(10, 72, 14_355_520), (18, 102, 32_986_176)])
def test_stand_in_files_have_the_published_size(program: ModuleType, depth: int, tensors: int, parameters: int) -> None:
    from faithful.official import medicalnet_state

    state = medicalnet_state(depth, seed=0)
    trained = [tensor for name, tensor in state.items() if name.endswith(("weight", "bias"))]
    assert (len(state), sum(tensor.numel() for tensor in trained)) == (tensors, parameters)


def test_the_stand_in_for_efficientnet_has_the_published_size(program: ModuleType) -> None:
    from faithful.official import efficientnet_b0_file

    trained = [t for name, t in efficientnet_b0_file(seed=0).items() if name.endswith(("weight", "bias"))]
    assert sum(tensor.numel() for tensor in trained) == 5_288_548  # Tan and Le 2019: 5.3 million


def test_the_recorded_table_is_whole_and_was_written_by_the_program(program: ModuleType) -> None:
    summary = json.loads(program.RESULT.read_text())
    assert [row["key"] for row in summary["rows"]] == list(program.ROWS)
    assert all(row["ours_ok"] for row in summary["rows"])
    assert program.RESULT.with_suffix(".md").read_text() == program.table(summary)
