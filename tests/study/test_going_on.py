"""Real studies of trainings that take no time: failures, kills, and what a second command does."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest
from study_commands import TOY, Place, launch

from medtl_monai.cli import _parser, main
from medtl_monai.study.command import design_of
from medtl_monai.study.rows import Row
from medtl_monai.study.run import Choices, run_study
from medtl_monai.study.table import CASES, RUNS, locked, read_table


def _bare(rows: list[Row]) -> list[Row]:
    """Rows without what differs between two runs of the same, in a fixed order."""
    return sorted((replace(row, run="", seconds=0.0) for row in rows), key=repr)


def _wait_for(process: Popen[str], path: Path, lines: int) -> None:
    deadline = time.monotonic() + 240
    while not path.is_file() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the study made no rows"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see the workers")
def test_a_killed_study_goes_on_and_ends_with_the_same_rows(place: Place) -> None:
    slow = place.words("killed", set="pause=0.4")
    process = launch(slow)
    _wait_for(process, place.root / "killed" / RUNS, 6)
    workers = _children(process.pid)
    assert workers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").is_dir() for pid in workers):
        assert time.monotonic() < deadline, "the workers outlive the study"
        time.sleep(0.05)
    before, _ = read_table(place.root / "killed")
    assert 5 <= len(before) < 24
    with (place.root / "killed" / RUNS).open("a") as stream:
        stream.write("0123456789ab,comparison,scra")  # what a power cut leaves
    with (place.root / "killed" / CASES).open("a") as stream:
        stream.write("nobody,test 0,0.5\nnobody,te")
    assert main(place.words("killed", set="pause=0.4", jobs=8)) == 0
    rows, cases = read_table(place.root / "killed")
    assert rows[: len(before)] == before  # nothing ran twice
    assert {case.run for case in cases} == {row.run for row in rows}
    assert main(place.words("whole", jobs=2)) == 0
    whole, _ = read_table(place.root / "whole")
    assert len(rows) == len(whole) == 12 + 12 + 4
    assert _bare(rows) == _bare(whole)


def test_runs_fail_each_in_its_way_and_the_study_goes_on(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    sources = ",".join(str(place.root / f"{name}.pt") for name in ("good", "broken", "nan", "killed"))
    words = place.words("out", sources=sources, labelled="2", seeds=2, rates="1e-3", converged=0)
    assert main(words) == 0
    rows, cases = read_table(place.root / "out")
    errors = {Path(row.source).stem: row.error for row in rows if not row.ok}
    assert set(errors) == {"broken", "nan", "killed"}
    assert "the source | is broken" in errors["broken"]
    assert "training loss is not finite" in errors["nan"]
    assert "SIGKILL" in errors["killed"]
    good = [row for row in rows if row.ok]
    assert len(good) == 2 + 2 * 2  # both arms: one rate, two seeds
    for row in good:
        own = [case.score for case in cases if case.run == row.run]
        assert sum(own) / 3 == pytest.approx(row.score)  # the second case has one structure only
    said = capsys.readouterr().out
    assert "FAILED" in said
    assert "about" in said
    assert "3 runs failed" in said
    assert main(words) == 0
    assert len(read_table(place.root / "out")[0]) == len(rows)  # failed runs stay as they are
    (place.root / "broken.pt").rename(place.root / "aside.pt")
    assert main([*words, "--report-only"]) == 0
    (place.root / "aside.pt").rename(place.root / "broken.pt")
    assert main([*words, "--retry-failed"]) == 0
    again = read_table(place.root / "out")[0]
    assert [row.source for row in again[len(rows) :]] == [row.source for row in rows if not row.ok]
    report = (place.root / "out" / "report.html").read_text()
    assert "all 1 runs of the sweep over learning rates failed" in report


def test_more_is_allowed_and_anything_else_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"labelled": "2", "seeds": 1, "rates": "1e-3", "converged": 0}
    assert main(place.words("out", **small)) == 0
    more = {**small, "labelled": "2,4", "seeds": 2, "converged": 2, "converged_seeds": 1}
    assert main(place.words("out", **more)) == 0
    rows, _ = read_table(place.root / "out")
    assert len(rows) == 2 * 2 + 2 * 2 * 2 + 2
    capsys.readouterr()
    changed = {**more, "labelled": "4", "seeds": 1, "rates": "1e-2", "epochs": 7, "set": "pause=1"}
    assert main(place.words("out", **changed)) == 2
    said = capsys.readouterr().err
    lost = ("labelled no longer has 2", "rates no longer has 0.001")
    for word in (*lost, "seeds 1 instead of 2", "epochs 7 instead of 2", "pause"):
        assert word in said
    assert read_table(place.root / "out")[0] == rows
    with locked(place.root / "out"):
        assert main(place.words("out", **more)) == 2
    assert "another study is running" in capsys.readouterr().err


def test_another_learning_rate_may_be_added_and_every_arm_tries_it(place: Place) -> None:
    """A far smaller rate cannot win here: the sweeps grow by one run of each arm, the comparison stays as it is."""
    small = {"labelled": "2", "seeds": 1, "rates": "1e-2", "converged": 0}
    assert main(place.words("out", **small)) == 0
    before, _ = read_table(place.root / "out")
    assert main(place.words("out", **{**small, "rates": "1e-9,1e-2"})) == 0
    after, _ = read_table(place.root / "out")
    assert after[: len(before)] == before
    assert {(row.purpose, row.rate) for row in after[len(before) :]} == {("tuning", 1e-9)}
    assert {row.strategy for row in after[len(before) :]} == {row.strategy for row in before}


def test_another_bundle_configuration_is_refused_unless_accepted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = place.root / "bundle"
    (bundle / "configs").mkdir(parents=True)
    for file in ("configs/train.json", "configs/metadata.json", "toy_bundle.py"):
        (bundle / file).write_text((TOY / file).read_text())
    small = {"labelled": "2", "seeds": 1, "rates": "1e-3", "converged": 0, "bundle": bundle}
    assert main(place.words("out", **small)) == 0
    config = bundle / "configs" / "train.json"
    config.write_text(config.read_text().replace('"pause": 0.0', '"pause": 0.01'))
    assert main(place.words("out", **small)) == 2
    assert "another content of the bundle configuration" in capsys.readouterr().err
    assert main(place.words("out", **small, allow_changed_bundle=True)) == 0
    assert (place.root / "out" / "configs" / "train.json").read_text() == config.read_text()
    assert "configuration changed 1 times" in (place.root / "out" / "report.html").read_text()
    datalist = place.root / "datalist.json"
    datalist.write_text(datalist.read_text() + "\n")
    assert main(place.words("out", **small, allow_changed_bundle=True)) == 2
    assert "another content of the datalist" in capsys.readouterr().err


def test_all_that_is_wrong_is_said_before_the_first_run(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"sources": "highres3dnet_gf", "strategies": "fine_tun", "labelled": "99", "set": "pouse=1 seed=3"}
    assert main(place.words("out", **wrong)) == 2
    said = capsys.readouterr().err
    for word in (
        "'highres3dnet_gif'",
        "'fine_tune'",
        "fewer than 99",
        "no setting 'pouse'",
        "'seed' is set by the study",
    ):
        assert word in said
    assert not (place.root / "out").exists()
    assert main(place.words("out", datalist="split_{seed}.json")) == 2
    assert "split_10000.json" in capsys.readouterr().err
    assert main(place.words("out", sources="scratch", rates="0,0", labelled="2,2")) == 2
    said = capsys.readouterr().err
    for word in ("leave it out of sources", "rates: positive", "labelled has a value twice"):
        assert word in said
    assert main(["study", "--output", str(place.root / "out")]) == 2
    assert "--bundle, --data, --sources" in capsys.readouterr().err


def test_an_edit_of_the_bundle_does_not_reach_a_study_that_runs(place: Place) -> None:
    bundle = place.root / "bundle"
    (bundle / "configs").mkdir(parents=True)
    for file in ("configs/train.json", "configs/metadata.json", "toy_bundle.py"):
        (bundle / file).write_text((TOY / file).read_text())
    words = place.words("out", bundle=bundle, labelled="2", seeds=2, rates="1e-3", converged=0)
    said: list[str] = []

    def spoil(line: str) -> None:
        said.append(line)
        (bundle / "configs" / "train.json").write_text("{}")

    design = design_of(_parser().parse_args(words))
    run_study(design, place.root / "out", Choices(), spoil)
    assert len(said) == 6
    assert not any("FAILED" in line for line in said)
