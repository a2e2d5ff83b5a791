"""The demo's report and closing table."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.table import Table as TextTable

from medtl_monai.demo.cohorts import LABELS
from medtl_monai.demo.outcome import DemoOutcome
from medtl_monai.demo.plan import DemoPlan
from medtl_monai.io.geometry import spacing_of
from medtl_monai.io.reader import read_volume
from medtl_monai.report.figures import DicePair, dice_dot_figure, learning_curve_figure, overlay_figure
from medtl_monai.report.html import Cell, Figure, Section, Table, render_report

_STRUCTURES = [LABELS[1], LABELS[2]]


def overlay(image: Path, prediction: Path, truth: np.ndarray | Path | None, title: str) -> bytes:
    """Overlay picture in three planes, everything turned to RAS.

    Args:
        image: scan, NIfTI file or DICOM series.
        prediction: predicted label map on the scan's grid.
        truth: label map in RAS order, or its file, or None.
        title: title of the picture.
    """
    scan = read_volume(image)
    picture = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(scan.array, dtype=np.float32), scan.affine))
    labels = nib.as_closest_canonical(nib.load(prediction))
    if isinstance(truth, Path):
        truth = np.asarray(nib.as_closest_canonical(nib.load(truth)).dataobj)
    return overlay_figure(
        np.asarray(picture.dataobj),
        truth,
        np.asarray(labels.dataobj).astype(np.uint8),
        spacing_of(picture.affine).tolist(),
        title=title,
        label_names={value: name for value, name in LABELS.items() if value},
    )


def compose_report(plan: DemoPlan, outcome: DemoOutcome, test_image: Path, test_label: Path, seconds: float) -> str:
    """The HTML report of a finished demo."""
    record = json.loads((plan.run_folder("transfer") / "run.json").read_text())
    scan_file = next((plan.output / "predictions" / "scan").glob("*.nii.gz"))
    case_file = next((plan.output / "predictions" / "test_case").glob("*.nii.gz"))
    scan_kind = "DICOM series" if plan.data.scan.is_dir() else "scan"
    arms = [f"{plan.training.labelled} labelled cases, from the source", "the same training from scratch"]
    curves = dict(zip(arms, (outcome.curves["transfer"], outcome.curves["scratch"]), strict=True))
    pairs = [
        DicePair(case, outcome.case_mean("transfer", case), outcome.case_mean("scratch", case))
        for case in sorted(outcome.dice["transfer"])
    ]
    sections = [
        Section(
            "Did transfer help?",
            ["Each line is one test case; the dashed lines are the means."],
            [
                Figure(dice_dot_figure(pairs), "Paired dots: Dice of each test case with transfer and from scratch."),
                case_table(outcome),
            ],
        ),
        Section(
            "Training",
            [
                f"Both arms: {plan.training.network}, {plan.training.epochs} epochs of "
                f"{plan.training.cases_per_epoch} crops, learning rate {plan.training.learning_rate}, "
                "same cases, same order, same initial head."
            ],
            [
                Figure(
                    learning_curve_figure(curves, ylabel="mean Dice, validation cases"),
                    "Validation Dice by epoch for both arms; epoch 0 is the state before training.",
                )
            ],
        ),
        Section(
            "Segmentations",
            [
                f"Predictions of the fine-tuned model, written on each scan's own grid. The {scan_kind} was not seen before."
            ],
            [
                Figure(
                    overlay(plan.data.scan, scan_file, plan.data.scan_truth, f"Prediction for the {scan_kind}"),
                    f"Axial, coronal and sagittal slices of the {scan_kind} with the predicted labels.",
                ),
                Figure(
                    overlay(test_image, case_file, test_label, f"Test case {outcome.median_case()} (median Dice)"),
                    "Axial, coronal and sagittal slices of a test case with true and predicted labels.",
                ),
            ],
        ),
        Section("Weights", ["What the transfer arm started from, tensor by tensor."], [weights_table(record)]),
    ]
    facts = {
        "data": plan.data.description,
        "source": record["weights"][0]["name"],
        "seed": record["seeds"]["seed"],
        "time after installation": f"{seconds:.0f} s",
        **{name: version for name, version in record["versions"].items() if version},
    }
    return render_report("Transfer learning demo: hippocampus in MR", [outcome.sentence()], sections, facts=facts)


def case_table(outcome: DemoOutcome) -> Table:
    """Dice of every test case and structure, both arms beside each other."""
    rows: list[list[Cell]] = []
    for case in sorted(outcome.dice["transfer"]):
        row: list[Cell] = [case]
        for structure in _STRUCTURES:
            row += [outcome.dice[arm][case][structure] for arm in ("transfer", "scratch")]
        rows.append(row)
    means: list[Cell] = [
        float(np.mean([outcome.dice[arm][case][name] for case in outcome.dice[arm]]))
        for name in _STRUCTURES
        for arm in ("transfer", "scratch")
    ]
    rows.append(["mean", *means])
    header = ["case", *(f"{name.split()[0]}, {arm}" for name in _STRUCTURES for arm in ("transfer", "scratch"))]
    return Table(header, rows, caption="Dice of the test cases")


def weights_table(record: dict) -> Table:
    """The load report of the source's weights."""
    report = record["weights"][0]["report"]
    rows: list[list[Cell]] = [
        [title, len(report[key])]
        for title, key in (
            ("tensors loaded", "loaded"),
            ("tensors of the new head, at their initial values", "reinitialised"),
            ("missing", "missing"),
            ("unexpected", "unexpected"),
            ("of another shape or type", "mismatched"),
            ("tensors of the source's head, left out", "dropped"),
        )
    ]
    rows.append(["share of parameters loaded", f"{report['parameter_share']:.2%}"])
    return Table(["", "number"], rows, caption=f"{report['source']} (sha256 {report['sha256'][:16]}...)")


def closing_table(outcome: DemoOutcome) -> TextTable:
    """The table that ends the demo in the terminal."""
    table = TextTable(title="Dice on the test cases")
    table.add_column("case")
    for name in ("transfer", "scratch", "difference"):
        table.add_column(name, justify="right")
    cases = sorted(outcome.dice["transfer"])
    for case in cases:
        first, second = outcome.case_mean("transfer", case), outcome.case_mean("scratch", case)
        table.add_row(case, f"{first:.3f}", f"{second:.3f}", f"{first - second:+.3f}")
    first, second = outcome.mean("transfer"), outcome.mean("scratch")
    table.add_section()
    table.add_row("mean", f"{first:.3f}", f"{second:.3f}", f"{first - second:+.3f}")
    return table
