"""The tables of a study's report."""

from __future__ import annotations

import math

from medtl_monai.report.html import Cell, Table
from medtl_monai.study.analysis import Analysis, Cost
from medtl_monai.study.cells import BASELINE
from medtl_monai.study.comparisons import Comparison
from medtl_monai.study.names import arm_names
from medtl_monai.study.pictures import metric_words
from medtl_monai.study.rows import Row


def differences(found: Analysis, *, converged: bool) -> list[Table]:
    """Means, difference, both intervals and p values of every comparison."""
    header = [
        "arm", "n", "pairs", "arm's mean", "scratch", "difference", "low", "high", "p", "p corrected",
        "new patients: low", "high", "p corrected", "verdict",
    ]  # fmt: skip
    rows = [_difference(found, entry) for entry in found.comparisons if entry.converged == converged]
    caption = f"{metric_words(found)}, 95 % intervals"
    return [Table(header, rows, caption=caption, decimals=4)] if rows else []


def _difference(found: Analysis, entry: Comparison) -> list[Cell]:
    interval, patients = entry.interval, entry.patients
    seeds: list[Cell] = (
        [None] * 4 if interval is None else [interval.difference, interval.low, interval.high, _p(interval.p)]
    )
    wide: list[Cell] = [None] * 2 if patients is None else [patients.low, patients.high]
    means: list[Cell] = [None if math.isnan(mean) else mean for mean in (entry.mean_arm, entry.mean_baseline)]
    pairs = f"{entry.pairs} of {entry.planned}"
    return [
        arm_names(found.design)[entry.arm],
        entry.labelled,
        pairs,
        *means,
        *seeds,
        _p(entry.p_holm),
        *wide,
        _p(entry.patients_p_holm),
        entry.verdict(found.design.better),
    ]


def _p(value: float | None) -> Cell:
    return "< 0.0001" if value is not None and value < 0.0001 else value


def costs(found: Analysis) -> list[Table]:
    """Seconds and parameters of every arm at every n, and the seconds relative to scratch."""
    names = arm_names(found.design)
    scratch = {cost.labelled: cost.seconds for cost in found.costs if cost.arm == BASELINE}
    rows = [
        [
            names[cost.arm],
            cost.labelled,
            cost.runs,
            cost.seconds,
            _ratio(cost, scratch.get(cost.labelled)),
            round(cost.trainable),
            round(cost.parameters),
        ]
        for cost in found.costs
    ]
    header = ["arm", "n", "runs", "seconds", "times scratch", "trained parameters", "parameters"]
    return [Table(header, rows, caption="Time and parameters of a run", decimals=2)] if rows else []


def _ratio(cost: Cost, scratch: float | None) -> float | None:
    return cost.seconds / scratch if scratch else None


def sweeps(found: Analysis) -> list[Table]:
    """Validation score of every learning rate, the chosen one, and whether it lies at the edge."""
    design, names = found.design, arm_names(found.design)
    rows: list[list[Cell]] = []
    for arm in found.scores.arms:
        for n in design.labelled:
            swept = found.scores.sweep(arm, n)
            chosen = "none" if swept.rate is None else f"{swept.rate:g}"
            rows.append([names[arm], n, *(swept.scores.get(rate) for rate in design.rates), chosen, swept.at_edge])
    header = ["arm", "n", *(f"{rate:g}" for rate in design.rates), "chosen", "at the edge"]
    return [Table(header, rows, caption="Validation score per learning rate; n/a: the run failed")]


def every_run(found: Analysis) -> list[Table]:
    """Test score of every seed, arms by n in rows."""
    design, names = found.design, arm_names(found.design)
    rows: list[list[Cell]] = []
    for n in design.labelled:
        for arm in found.scores.arms:
            line = [found.scores.row(arm, n, seed) for seed in range(design.seeds)]
            rows.append([names[arm], n, *map(_score, line)])
        if design.converged:
            line = [
                found.scores.converged_row(n, seed) if seed < design.converged_seeds else None
                for seed in range(design.seeds)
            ]
            rows.append([f"scratch, {design.converged:g}× epochs", n, *map(_score, line)])
    header = ["arm", "n", *(f"seed {seed}" for seed in range(design.seeds))]
    return [Table(header, rows, caption=f"{metric_words(found)} on the test cases; n/a: the run failed")]


def _score(row: Row | None) -> Cell:
    if row is None:
        return None
    return row.score if row.ok else math.nan


def failures(found: Analysis) -> list[Table]:
    """Every failed run with its reason."""
    rows: list[list[Cell]] = [
        [row.purpose, row.source, row.strategy, row.labelled, row.seed, f"{row.rate:g}", row.error]
        for row in found.failures
    ]
    header = ["purpose", "source", "strategy", "n", "seed", "rate", "reason"]
    return [Table(header, rows, caption="Failed runs")] if rows else []
