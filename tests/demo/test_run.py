"""The demo, really run on a few phantoms, and its pieces on planted results."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from medtl_monai.data.datalist import make_datalist
from medtl_monai.data.phantom import make_phantom, write_cohort, write_dicom_series
from medtl_monai.demo.bundle_runs import BundleRun, run_together
from medtl_monai.demo.cohorts import LABELS, DemoData
from medtl_monai.demo.outcome import DemoOutcome
from medtl_monai.demo.plan import DemoPlan, TrainingPlan
from medtl_monai.demo.run import run_plan
from medtl_monai.errors import MedTLError


@pytest.fixture(scope="module")
def tiny_plan(tmp_path_factory: pytest.TempPathFactory, project: Path) -> DemoPlan:
    folder = tmp_path_factory.mktemp("demo")
    target = folder / "target"
    write_cohort(target, range(4), contrast="target")
    make_datalist(target, validation=0.25, test=0.5, label_names=LABELS).save(target / "datalist.json")
    phantom = make_phantom(9)
    write_dicom_series(phantom, folder / "series", seed=9)
    data = DemoData("Four phantoms.", target, target / "datalist.json", target, "", folder / "series", phantom.label)
    tiny = TrainingPlan(1, 1, 2, 1e-3, (16, 16, 16), "unet")
    return DemoPlan(project / "bundles" / "hippocampus_mri_segmentation", folder / "out", data, tiny, tiny)


def test_the_whole_demo_ends_in_a_self_contained_report(tiny_plan: DemoPlan) -> None:
    tiny_plan.output.mkdir()
    screen = io.StringIO()
    report = run_plan(tiny_plan, Console(file=screen, width=100)).read_text()
    said = screen.getvalue()
    for step in ("source model", "fine-tune from the source", "the same from scratch", "predict the DICOM series"):
        assert f"done {step}" in said
    assert "Mean Dice on 2 test cases" in said
    assert report.count("data:image/png;base64,") == 4
    assert "http://" not in report
    assert "Not a medical device" in report
    assert "100.00%" in report  # the U-Net took over every parameter of the source model
    masks = list((tiny_plan.output / "predictions").rglob("*.nii.gz"))
    assert sorted(path.parent.name for path in masks) == ["scan", "test_case"]


def test_a_failing_command_ends_the_others_and_shows_its_log(tmp_path: Path) -> None:
    class Script(BundleRun):
        def command(self) -> list[str]:
            return [sys.executable, "-c", str(self.options["code"])]

    fails = Script("broken step", [], {"code": "raise SystemExit('no such scanner')"}, tmp_path / "a.log")
    sleeps = Script("slow step", [], {"code": "import time; time.sleep(60)"}, tmp_path / "b.log")
    with pytest.raises(MedTLError, match=r"(?s)broken step failed.*no such scanner"):
        run_together([fails, sleeps], lambda run, share, note: None)


def test_the_conclusion_counts_cases_and_claims_no_more() -> None:
    structures = ("anterior hippocampus", "posterior hippocampus")
    dice = {
        "transfer": {
            "a": dict(zip(structures, (0.9, 0.7), strict=True)),
            "b": dict(zip(structures, (0.5, 0.5), strict=True)),
        },
        "scratch": {
            "a": dict(zip(structures, (0.6, 0.6), strict=True)),
            "b": dict(zip(structures, (0.6, 0.6), strict=True)),
        },
    }
    outcome = DemoOutcome(curves={}, dice=dice)
    assert outcome.mean("transfer") == pytest.approx(0.65)
    assert "0.650 with transfer, 0.600 from scratch; transfer was better in 1 of them" in outcome.sentence()
    assert "not a proof" in outcome.sentence()
    assert outcome.median_case() in {"a", "b"}
