"""Scores of a study's table, found by arm, n and seed, with what they are worth as a paired design."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtl_monai.study.cells import (
    BASELINE,
    Arm,
    Cell,
    Key,
    Sweep,
    arms,
    comparison_cell,
    converged_cell,
    latest,
    sweep,
)
from medtl_monai.study.design import Design
from medtl_monai.study.rows import CaseRow, Row

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairTable:
    """Scores of an arm and its baseline for the seeds of which both were run.

    Attributes:
        seeds: those seeds.
        arm, baseline: (seeds, 1), mean scores; NaN for a failed run.
        arm_cases, baseline_cases: (seeds, cases), or None where the runs do not share their cases.
        cases: number of test cases of a run; of all seeds together where each has its own split.
        dropped: cases left out of the case tables because some run has no score for them.
    """

    seeds: tuple[int, ...]
    arm: Floats
    baseline: Floats
    arm_cases: Floats | None
    baseline_cases: Floats | None
    cases: int
    dropped: int


class Scores:
    """Everything the analysis asks of the table; of a run that was tried again the last row counts."""

    def __init__(self, design: Design, rows: Sequence[Row], case_rows: Sequence[CaseRow]) -> None:
        self.design = design
        self.rows: dict[Key, Row] = latest(rows)
        self.arms = arms(design)
        self._cases: dict[str, dict[str, float]] = {}
        for entry in case_rows:
            self._cases.setdefault(entry.run, {})[entry.case] = entry.score
        self._sweeps = {(arm, n): sweep(design, self.rows, arm, n) for arm in self.arms for n in design.labelled}

    def sweep(self, arm: Arm, labelled: int) -> Sweep:
        """The sweep over learning rates of an arm at an n."""
        return self._sweeps[arm, labelled]

    def cell(self, arm: Arm, labelled: int, seed: int) -> Cell | None:
        """The cell of the comparison; None as long as its learning rate is not known."""
        rate = self.sweep(arm, labelled).rate
        return None if rate is None else comparison_cell(self.design, arm, labelled, seed, rate)

    def row(self, arm: Arm, labelled: int, seed: int) -> Row | None:
        """The row of the comparison; None if it has not been run."""
        cell = self.cell(arm, labelled, seed)
        return None if cell is None else self.rows.get(cell.key)

    def converged_row(self, labelled: int, seed: int) -> Row | None:
        """The row of scratch trained for longer; None if it has not been run."""
        rate = self.sweep(BASELINE, labelled).rate
        return None if rate is None else self.rows.get(converged_cell(self.design, labelled, seed, rate).key)

    def ok_rows(self, arm: Arm, labelled: int) -> list[Row]:
        """Finished rows of the comparison, by seed."""
        found = (self.row(arm, labelled, seed) for seed in range(self.design.seeds))
        return [row for row in found if row is not None and row.ok]

    def ok_converged(self, labelled: int) -> list[Row]:
        """Finished rows of scratch trained for longer, by seed."""
        found = (self.converged_row(labelled, seed) for seed in range(self.design.converged_seeds))
        return [row for row in found if row is not None and row.ok]

    def pairs(self, arm: Arm, labelled: int, *, converged: bool = False) -> PairTable:
        """The seeds of which both runs have a row, failed or not."""
        both = {}
        for seed in range(self.design.seeds):
            first = self.row(arm, labelled, seed)
            second = self.converged_row(labelled, seed) if converged else self.row(BASELINE, labelled, seed)
            if first is not None and second is not None:
                both[seed] = (first, second)
        return self._table(both)

    def _table(self, both: dict[int, tuple[Row, Row]]) -> PairTable:
        runs = [row for pair in both.values() for row in pair if row.ok]
        names, dropped = self._shared_cases(runs)
        everything = {name for row in runs for name in self._cases.get(row.run, {})}
        differ = self.design.splits_differ
        return PairTable(
            seeds=tuple(both),
            arm=_column([first for first, _ in both.values()]),
            baseline=_column([second for _, second in both.values()]),
            arm_cases=self._matrix([first for first, _ in both.values()], names),
            baseline_cases=self._matrix([second for _, second in both.values()], names),
            cases=len(everything) if differ and everything else max((row.cases for row in runs), default=0),
            dropped=dropped,
        )

    def _shared_cases(self, runs: Sequence[Row]) -> tuple[list[str], int]:
        """Cases that every run scored, in order, and how many had no score in some run; none if the sets differ."""
        found = [self._cases.get(row.run, {}) for row in runs]
        if not found or any(set(scores) != set(found[0]) for scores in found):
            return [], 0
        kept = [name for name in found[0] if all(math.isfinite(scores[name]) for scores in found)]
        return kept, len(found[0]) - len(kept)

    def _matrix(self, runs: Sequence[Row], names: Sequence[str]) -> Floats | None:
        if not names:
            return None
        blank = [math.nan] * len(names)
        return np.array([[self._cases[row.run][name] for name in names] if row.ok else blank for row in runs])


def _column(rows: Sequence[Row]) -> Floats:
    return np.array([[row.score if row.ok else math.nan] for row in rows], dtype=np.float64).reshape(len(rows), 1)
