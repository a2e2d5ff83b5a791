"""The files of a study: what is read is whole, and what was never whole is dropped."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from simulate import fail, make_design, make_row

from medtl_monai.errors import ConfigError, FormatError
from medtl_monai.study.cells import BASELINE, Cell, arms, outstanding, planned, sweep, total
from medtl_monai.study.design import Design, differences, load_design, save_design
from medtl_monai.study.progress import Progress, in_words
from medtl_monai.study.rows import HEADER, CaseRow, Row, run_line
from medtl_monai.study.software import read_software, record_software
from medtl_monai.study.table import RUNS, Table, locked, read_table

CELL = Cell("comparison", BASELINE, 4, 7, 3e-4, 10)


def _row(run: str, **changes: object) -> Row:
    return make_row(CELL, 0.1 + 0.2, run, **changes)  # 0.30000000000000004


def test_what_was_added_is_read_bit_by_bit(tmp_path: Path) -> None:
    table = Table(tmp_path)
    row = _row("a", error='a "quoted", long\nreason\r')
    table.add(row, [CaseRow("a", "case, 1", 1 / 3), CaseRow("a", "ä", math.nan)])
    rows, cases = read_table(tmp_path)
    assert rows[0].score == 0.1 + 0.2
    assert rows[0].error == 'a "quoted", long | reason'
    assert (cases[0].case, cases[0].score) == ("case, 1", 1 / 3)
    assert math.isnan(cases[1].score)
    assert (tmp_path / RUNS).read_text().splitlines()[0] == ",".join(HEADER)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_cut_anywhere_is_dropped_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    table = Table(tmp_path)
    table.add(_row("a"), [CaseRow("a", "c", 0.5)])
    table.add(_row("b"), [CaseRow("b", "c", 0.5)])
    data = (tmp_path / RUNS).read_bytes()
    (tmp_path / RUNS).write_bytes(data[:-cut])
    again = Table(tmp_path)
    assert [row.run for row in again.rows] == ["a"]
    assert [case.run for case in again.case_rows] == ["a"]  # scores of a run without its row
    again.add(_row("c"), [])
    assert [row.run for row in read_table(tmp_path)[0]] == ["a", "c"]


def test_half_a_header_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / RUNS).write_text("run,purp")
    assert Table(tmp_path).rows == []
    assert read_table(tmp_path) == ([], [])


def test_a_damaged_line_in_the_middle_is_refused_and_named(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.add(_row("a"), [])
    with (tmp_path / RUNS).open("a") as stream:
        stream.write("b,comparison\n" + run_line(_row("c")))
    with pytest.raises(FormatError, match="line 3"):
        Table(tmp_path)
    (tmp_path / RUNS).write_text((tmp_path / RUNS).read_text().replace("b,comparison\n", "").replace(",10,", ",ten,"))
    with pytest.raises(FormatError, match="'ten'"):
        Table(tmp_path)


def test_one_study_per_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ConfigError, match="another study is running"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_the_design_survives_its_file(tmp_path: Path) -> None:
    design = make_design(settings={"patch_size": [16, 16, 16], "network": "unet"})
    save_design(tmp_path, design, {"datalist": "ab"}, [])
    kept, *rest = load_design(tmp_path)
    assert rest == [{"datalist": "ab"}, []]
    assert differences(kept, design) == differences(design, design) == []
    assert replace(kept, bundle=design.bundle, data=design.data, datalist=design.datalist) == design
    elsewhere = replace(design, data=f"/elsewhere/{Path(design.data).name}")
    assert differences(kept, elsewhere) == []
    assert differences(kept, replace(design, data="other")) == [f"data 'other' instead of {Path(design.data).name!r}"]


def test_the_software_is_recorded_when_it_changes(tmp_path: Path) -> None:
    record_software(tmp_path)
    record_software(tmp_path)
    (entry,) = read_software(tmp_path)
    assert entry["versions"]["torch"] == version("torch")
    (tmp_path / "software.json").write_text('[{"since": "2020-01-01", "versions": {"torch": "1"}}]')
    record_software(tmp_path)
    assert [row["versions"]["torch"] for row in read_software(tmp_path)] == ["1", version("torch")]
    (tmp_path / "software.json").write_text("{}x")
    with pytest.raises(ConfigError, match="list of software cannot be read"):
        record_software(tmp_path)
    (tmp_path / "study.json").write_text('{"format": "medtl-study-9", "design": {}}')
    with pytest.raises(ConfigError, match="not a study of this version"):
        load_design(tmp_path)


def test_the_number_of_runs_is_what_one_counts_by_hand() -> None:
    design = make_design(sources=("a", "b"), strategies=("llrd", "lora", "cached_probe"), labelled=(2, 4), seeds=5)
    assert len(arms(design)) == 7
    sweeps = 2 * (5 * 3 + 2)  # a probe without steps has no rate to choose
    assert total(design) == sweeps + 2 * 7 * 5 + 2 * 3
    assert len(planned(design, {})) == sweeps  # no rate is known yet


def _swept(design: Design, scores: list[float]) -> list[Row]:
    cells = [cell for cell in planned(design, {}) if cell.purpose == "tuning"]
    rows = [make_row(cell, score, f"t{index}") for index, (cell, score) in enumerate(zip(cells, scores, strict=True))]
    return [row if math.isfinite(row.score) else replace(row, **fail(row)) for row in rows]  # type: ignore[arg-type]


def test_each_arm_gets_its_own_best_rate() -> None:
    design = make_design(labelled=(4,), seeds=1, converged=0.0)
    rows = _swept(design, [0.2, 0.5, 0.3, 0.1, 0.2, 0.6])
    cells = outstanding(design, rows, ())
    assert [(cell.arm.strategy, cell.rate) for cell in cells] == [("scratch", 3e-3), ("fine_tune", 1e-2)]
    found = {arm: sweep(design, {cell.key: row for cell, row in zip(planned(design, {}), rows, strict=True)}, arm, 4)
             for arm in arms(design)}  # fmt: skip
    assert [found[arm].at_edge for arm in arms(design)] == [False, True]
    lower = make_design(labelled=(4,), seeds=1, converged=0.0, better="lower")
    assert [cell.rate for cell in outstanding(lower, rows, ())] == [1e-3, 1e-3]


def test_a_failed_rate_is_passed_over_and_may_be_tried_again() -> None:
    design = make_design(labelled=(4,), seeds=1, converged=0.0)
    rows = _swept(design, [0.2, math.nan, 0.3, math.nan, math.nan, math.nan])
    cells = outstanding(design, rows, ())
    assert [(cell.arm.strategy, cell.rate) for cell in cells] == [("scratch", 1e-2)]  # the other arm has no rate
    again = outstanding(design, rows, (), retry_before=len(rows))
    assert [cell.purpose for cell in again] == ["tuning"] * 4
    assert outstanding(design, rows, again, retry_before=len(rows)) == []


def test_the_time_left_is_that_of_the_epochs_left() -> None:
    design = make_design(labelled=(4,), seeds=2, converged=0.0)
    rows = _swept(design, [0.2, 0.5, 0.3, 0.2, 0.5, 0.3])  # each 10 s for 10 epochs
    waiting = outstanding(design, rows, ())
    assert len(waiting) == 4
    assert Progress(total(design), 2).seconds_left(rows, waiting, ()) == pytest.approx(4 * 10 / 2)
    assert Progress(total(design), 1).seconds_left(rows[:3], [], ()) == pytest.approx(7 * 10)  # rates unknown yet
    assert Progress(10, 1).seconds_left([], waiting, ()) is None
    assert [in_words(seconds) for seconds in (5, 600, 9000)] == ["5 s", "10 min", "2 h 30 min"]
