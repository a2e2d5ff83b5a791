"""What a study's table says: pure functions of its rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from medtl_monai.errors import MedTLError
from medtl_monai.statistics.labels_saved import LabelsSaved, labels_saved
from medtl_monai.study.cautions import cautions, not_run
from medtl_monai.study.cells import BASELINE, Arm, total
from medtl_monai.study.comparisons import LEVEL, Comparison, compare_all
from medtl_monai.study.design import Design
from medtl_monai.study.rows import CaseRow, Row
from medtl_monai.study.scores import Scores


@dataclass(frozen=True)
class Point:
    """Mean score of an arm at an n with its own t interval over the seeds; NaN limits for a single seed."""

    labelled: int
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Cost:
    """Means over the finished runs of an arm at an n: seconds, and the numbers of parameters."""

    arm: Arm
    labelled: int
    seconds: float
    trainable: float
    parameters: float
    runs: int


@dataclass(frozen=True)
class Saved:
    """Labels saved by an arm: one entry per n, or the reason why there is none."""

    arm: Arm
    levels: Sequence[LabelsSaved]
    reason: str


@dataclass(frozen=True)
class Analysis:
    """All that the report shows.

    Attributes:
        design: the study.
        scores: its table.
        metric: name of the score.
        curves: arm -> points over n.
        converged: points of scratch trained for longer.
        comparisons: all, with scratch and with scratch trained for longer.
        saved: labels saved by each arm.
        costs: time and parameters.
        failures: failed runs.
        not_run: what is missing, in words.
        cautions: what weakens the study, in words.
        finished: cells with a row.
        total: cells of the whole study.
    """

    design: Design
    scores: Scores
    metric: str
    curves: dict[Arm, list[Point]]
    converged: list[Point]
    comparisons: list[Comparison]
    saved: list[Saved]
    costs: list[Cost]
    failures: list[Row]
    not_run: list[str]
    cautions: list[str]
    finished: int
    total: int


def analyse(design: Design, rows: Sequence[Row], case_rows: Sequence[CaseRow]) -> Analysis:
    """Analyse a table, complete or not. Only complete pairs enter a comparison."""
    scores = Scores(design, rows, case_rows)
    everyone = scores.arms
    return Analysis(
        design=design,
        scores=scores,
        metric=next((row.metric for row in rows if row.ok), design.metric or "score"),
        curves={arm: _points(design, [scores.ok_rows(arm, n) for n in design.labelled]) for arm in everyone},
        converged=_points(design, [scores.ok_converged(n) for n in design.labelled]) if design.converged else [],
        comparisons=compare_all(scores),
        saved=[_saved(scores, arm) for arm in everyone if arm != BASELINE],
        costs=[cost for arm in everyone for n in design.labelled if (cost := _cost(scores, arm, n)) is not None],
        failures=[row for row in scores.rows.values() if not row.ok],
        not_run=not_run(scores),
        cautions=cautions(scores),
        finished=len(scores.rows),
        total=total(design),
    )


def mean_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and t interval of at least one value; NaN limits for one."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(special.stdtrit(len(values) - 1, 0.5 + level / 2)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _points(design: Design, by_level: Sequence[Sequence[Row]]) -> list[Point]:
    return [
        Point(n, *mean_interval([row.score for row in rows]), seeds=len(rows))
        for n, rows in zip(design.labelled, by_level, strict=True)
        if rows
    ]


def _cost(scores: Scores, arm: Arm, labelled: int) -> Cost | None:
    rows = scores.ok_rows(arm, labelled)
    if not rows:
        return None
    return Cost(
        arm,
        labelled,
        seconds=statistics.fmean(row.seconds for row in rows),
        trainable=statistics.fmean(row.trainable for row in rows),
        parameters=statistics.fmean(row.parameters for row in rows),
        runs=len(rows),
    )


def _saved(scores: Scores, arm: Arm) -> Saved:
    design = scores.design
    sign = 1.0 if design.better == "higher" else -1.0
    try:
        levels = labels_saved(
            list(design.labelled), sign * _curve(scores, BASELINE), sign * _curve(scores, arm), level=LEVEL
        )
    except MedTLError as error:
        return Saved(arm, [], str(error))
    return Saved(arm, levels, "")


def _curve(scores: Scores, arm: Arm) -> np.ndarray:
    """(seeds, levels), NaN where a run failed or is outstanding."""
    design = scores.design
    rows = [[scores.row(arm, n, seed) for n in design.labelled] for seed in range(design.seeds)]
    return np.array([[row.score if row is not None and row.ok else math.nan for row in line] for line in rows])
