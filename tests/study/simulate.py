"""Tables of studies that nobody ran: scores with a known truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from medtl_monai.study.cells import BASELINE, Arm, Cell, arms, comparison_cell, converged_cell, tuning_cells
from medtl_monai.study.design import Design
from medtl_monai.study.rows import CaseRow, Row

Truth = Callable[[Arm, int], float]


def make_design(**changes: object) -> Design:
    """A small design; ``changes`` replace its settings."""
    settings: dict[str, object] = {
        "bundle": "bundle",
        "data": "data",
        "datalist": "",
        "sources": ("chest_ct",),
        "strategies": ("fine_tune",),
        "labelled": (2, 4, 8),
        "seeds": 10,
        "rates": (1e-3, 3e-3, 1e-2),
        "epochs": 10,
        "converged_seeds": min(3, int(str(changes.get("seeds", 10)))),
    }
    return Design(**{**settings, **changes})  # type: ignore[arg-type]


def make_row(cell: Cell, score: float, run: str, **changes: object) -> Row:
    """The row of a finished run whose arms of a seed are paired as they should be."""
    values: dict[str, object] = {
        "run": run,
        "purpose": cell.purpose,
        "source": cell.arm.source,
        "strategy": cell.arm.strategy,
        "labelled": cell.labelled,
        "seed": cell.seed,
        "rate": cell.rate,
        "epochs": cell.epochs,
        "split": cell.split,
        "metric": "val_mean_dice",
        "score": score,
        "train_loss": 0.5,
        "seconds": 10.0 if cell.purpose != "converged" else 100.0,
        "trainable": 1000,
        "parameters": 1000,
        "cases": 12,
        "network": "unet",
        "draw": f"draw {cell.labelled} {cell.seed}",
        "head": f"head {cell.seed}",
        "batches": f"batches {cell.labelled} {cell.seed} {cell.epochs}",
        "status": "ok",
        "error": "",
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]


def fail(row: Row) -> dict[str, object]:
    """Changes that make a row that of a failed run."""
    return {
        "score": math.nan,
        "train_loss": math.nan,
        "status": "failed",
        "error": "planted",
        "cases": 0,
        "run": row.run,
    }


def simulate(
    design: Design,
    truth: Truth,
    *,
    seed: int = 0,
    seed_sd: float = 0.02,
    case_sd: float = 0.0,
    cases: int = 12,
    longer: float = 0.0,
) -> tuple[list[Row], list[CaseRow]]:
    """A complete table: truth, plus what the seed does to all arms, plus what it does to each run, plus noise of cases.

    The middle learning rate is the best of every sweep. ``longer`` is what converged scratch gains on scratch.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    case_rows: list[CaseRow] = []

    def add(cell: Cell, mean: float) -> None:
        run = f"run{len(rows)}"
        scores = mean + case_sd * rng.standard_normal(cases)
        rows.append(make_row(cell, float(scores.mean()), run, cases=cases))
        case_rows.extend(CaseRow(run, f"case {index}", float(score)) for index, score in enumerate(scores))

    worse = -1.0 if design.better == "higher" else 1.0
    best = design.rates[len(design.rates) // 2]
    for n in design.labelled:
        for arm in arms(design):
            for cell in tuning_cells(design, arm, n):
                add(cell, truth(arm, n) + worse * abs(math.log10(cell.rate / best)))
    for number in range(design.seeds):
        luck = seed_sd * rng.standard_normal()
        for n in design.labelled:
            for arm in arms(design):
                mean = truth(arm, n) + luck + seed_sd * rng.standard_normal()
                add(comparison_cell(design, arm, n, number, best), mean)
            if number < design.converged_seeds and design.converged:
                mean = truth(BASELINE, n) + longer + luck + seed_sd * rng.standard_normal()
                add(converged_cell(design, n, number, best), mean)
    return rows, case_rows
