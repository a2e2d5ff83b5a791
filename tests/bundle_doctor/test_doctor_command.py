"""``medtl doctor``: forms of output, exit states, refusals, time limits, no network, shapes and synthetic cases."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle.scripts import _get_fake_spatial_shape
from planted_defects import also, drop, file, no_weights, put
from zoo_bundles import write_bundle

from medtl_monai.bundle.doctor.examine import Choice, examine
from medtl_monai.bundle.doctor.rows import ROWS
from medtl_monai.bundle.doctor.shapes import shape_of
from medtl_monai.bundle.doctor.subject import Subject
from medtl_monai.bundle.doctor.synthetic import make_cases, scan_size
from medtl_monai.cli import main
from medtl_monai.errors import ConfigError

FEW = "D4,D11,K11"


def test_text_and_exit_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path, drop("metadata#organ"))
    assert main(["doctor", str(bundle), "--only", FEW]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "D4"], ["FAIL", "D11"]]
    assert lines[2].strip().startswith("configs/metadata.json:1: no organ")
    assert lines[3].strip().startswith("cure: add it")
    assert lines[-1] == f"passed: 2, warnings: 0, failed: 1, not applicable: 0, not run: {len(ROWS) - 3}"
    assert main(["doctor", str(bundle), "--only", FEW, "--skip", "D11"]) == 0
    assert main(["doctor", str(tmp_path / "none")]) == 2
    assert main(["doctor", str(bundle), "--only", "K99"]) == 2
    assert "no such row" in capsys.readouterr().err


def test_json_and_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path, drop("metadata#organ"))
    assert main(["doctor", str(bundle), "--only", FEW, "--format", "json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["passed"] is False
    assert [row["row"] for row in content["rows"]] == list(ROWS)
    states = {row["row"]: (row["state"], row["note"]) for row in content["rows"]}
    assert states["D11"][0] == "fail"
    assert states["CLI-TRAIN"] == ("not run", "not chosen")
    assert main(["doctor", str(bundle), "--only", FEW, "--format", "sarif"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(ROWS)
    by_kind = {kind: [one["ruleId"] for one in run["results"] if one["kind"] == kind] for kind in ("fail", "pass")}
    assert by_kind == {"fail": ["D11"], "pass": ["D4", "K11"]}
    (failed,) = [one for one in run["results"] if one["kind"] == "fail"]
    assert failed["level"] == "error"
    place = failed["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "configs/metadata.json"
    assert all(one["level"] == "none" for one in run["results"] if one["kind"] != "fail")
    assert all(run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])


def test_a_dangerous_bundle_is_not_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    expression = f"$open({str(touched)!r}, 'w').close()"
    bundle = write_bundle(tmp_path, put("inference#initialize", [expression]))
    verdicts = {one.row: one.outcome for one in examine(bundle, Choice(skip=("CLI-EXPORT",)))}
    assert verdicts["LINT"].state == "fail"
    for row, about in ROWS.items():
        if about.stage in ("build", "run"):
            assert verdicts[row].state in ("not run", "not applicable"), row
    assert "lint" in verdicts["CLI-INFER"].note
    assert not touched.exists()


def test_quick_runs_no_command(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    rows = tuple(row for row, about in ROWS.items() if about.stage != "build")
    verdicts = {one.row: one.outcome for one in examine(bundle, Choice(only=rows, quick=True))}
    assert {verdicts[row].note for row, about in ROWS.items() if about.stage == "run" and not about.optional} == {
        "not with --quick"
    }


def test_without_weights_rows_say_so(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, no_weights)
    rows = ("L1", "L5", "K3", "WEIGHTS", "CLI-INFER")
    verdicts = {one.row: one.outcome for one in examine(bundle, Choice(only=rows))}
    assert {verdicts[row].state for row in ("L5", "K3", "WEIGHTS")} == {"not run"}
    assert verdicts["WEIGHTS"].note == "no weights"
    assert verdicts["CLI-INFER"].state == "pass"
    assert "initial weights of seed 0" in verdicts["CLI-INFER"].note
    assert not (bundle / "models").exists()


def test_what_does_not_end_is_ended(tmp_path: Path) -> None:
    verdicts = examine(write_bundle(tmp_path), Choice(only=("CLI-NET",), timeout=0.01))
    (outcome,) = [one.outcome for one in verdicts if one.row == "CLI-NET"]
    assert outcome.state == "fail"
    assert outcome.problems[0].message.startswith("not finished after")


def test_children_have_no_network(tmp_path: Path) -> None:
    call = "$socket.create_connection(('127.0.0.1', 9), timeout=1)"
    change = also(put("inference#imports", ["$import glob", "$import socket"]), put("inference#initialize", [call]))
    verdicts = examine(write_bundle(tmp_path, change), Choice(only=("OFFLINE", "LINT"), trust=True))
    found = {one.row: one.outcome for one in verdicts}
    assert found["LINT"].state == "fail"
    assert found["OFFLINE"].state == "fail"
    assert "no network here" in found["OFFLINE"].problems[0].message


def test_a_folder_that_is_no_bundle_is_told_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    verdicts = {one.row: one.outcome.state for one in examine(tmp_path / "empty")}
    assert verdicts["L1"] == verdicts["D2"] == "fail"
    assert verdicts["NET"] == verdicts["CLI-INFER"] == "not run"
    with pytest.raises(ConfigError, match="no such schema"):
        examine(tmp_path / "empty", Choice(schema=tmp_path / "none.json"))


@pytest.mark.parametrize("declared", [[3, "8*n"], ["2**p * n", "16"], ["*", "n+3"], ["n*n-1+p", "7//2"]])
def test_shapes_are_those_of_monai(declared: list[object]) -> None:
    for n, p in ((1, 1), (2, 3)):
        if "n*n-1+p" in declared and n == 0:
            continue
        assert shape_of(declared, n=n, p=p) == _get_fake_spatial_shape(declared, p=p, n=n)


@pytest.mark.parametrize("entry", ["8*k", "", "__import__('os')", 0, "n-5", 1.5, None, "9**9**9", "10**12*n", "n//0"])
def test_no_shape(entry: object) -> None:
    with pytest.raises(ValueError, match=r"no size|no expression|not from"):
        shape_of([entry])


def test_synthetic_cases_hold_every_class_and_are_large_enough_for_crops(tmp_path: Path) -> None:
    crop = {"_target_": "RandSpatialCropd", "keys": "image", "roi_size": "@size"}
    change = also(put("train#size", [40, 20, 30]), put("train#crop", crop), file("docs/README.md", "x"))
    subject = Subject(write_bundle(tmp_path, change))
    assert scan_size(subject) == (40, 24 + 2, 30 + 4)
    cases = make_cases(subject, tmp_path / "cases")
    assert (len(cases.training), len(cases.validation), len(cases.inference)) == (4, 2, 2)
    for image, label in zip(cases.images, cases.labels, strict=True):
        scan, mask = nib.load(image), nib.load(str(label))
        assert nib.aff2axcodes(scan.affine) == ("L", "P", "S")
        assert scan.header.get_zooms() == pytest.approx((1.0, 1.0, 1.5))
        assert set(np.unique(mask.dataobj)) == {0, 1}
        values = np.asarray(scan.dataobj)
        assert values.min() == -1000
        assert values[np.asarray(mask.dataobj) > 0].mean() == pytest.approx(100, abs=2)
