"""What a study consists of: arms, cells (one training each), and which of them may run next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from medtl_monai.study.design import Design
from medtl_monai.study.rows import Row
from medtl_monai.transfer.strategy import build_strategy

SCRATCH = "scratch"
TUNING_SEED = 10_000  # far from every seed of the comparison
Purpose = Literal["tuning", "comparison", "converged"]
Key = tuple[str, str, str, int, int, float, int]


@dataclass(frozen=True, order=True)
class Arm:
    """A way to train: a source and a strategy."""

    source: str
    strategy: str


BASELINE = Arm(SCRATCH, SCRATCH)


@dataclass(frozen=True)
class Cell:
    """One training: why, which arm, on how many labelled cases, with which seed, learning rate and epochs."""

    purpose: Purpose
    arm: Arm
    labelled: int
    seed: int
    rate: float
    epochs: int

    @property
    def split(self) -> str:
        """The split that judges the final weights."""
        return "validation" if self.purpose == "tuning" else "test"

    @property
    def key(self) -> Key:
        """What makes it the same training as that of a row."""
        return self.purpose, self.arm.source, self.arm.strategy, self.labelled, self.seed, self.rate, self.epochs


def row_key(row: Row) -> Key:
    """The cell that a row of the table belongs to."""
    return row.purpose, row.source, row.strategy, row.labelled, row.seed, row.rate, row.epochs


def arms(design: Design) -> list[Arm]:
    """Scratch first, then every source with every strategy."""
    return [BASELINE, *(Arm(source, strategy) for source in design.sources for strategy in design.strategies)]


def tuning_cells(design: Design, arm: Arm, labelled: int) -> list[Cell]:
    """The sweep over learning rates of one arm at one n; one rate where no step of an optimiser is made."""
    rates = design.rates if build_strategy(arm.strategy).steps else design.rates[:1]
    return [Cell("tuning", arm, labelled, TUNING_SEED, rate, design.epochs) for rate in rates]


@dataclass(frozen=True)
class Sweep:
    """Outcome of a sweep over learning rates.

    Attributes:
        rate: the best; None as long as a run is outstanding, or if all failed.
        scores: rate -> validation score, NaN for a failed run.
        complete: whether every rate was run.
    """

    rate: float | None
    scores: dict[float, float]
    complete: bool

    @property
    def at_edge(self) -> bool:
        """Whether the best is the smallest or largest of several rates, so that a better one may lie outside."""
        finite = [score for score in self.scores.values() if math.isfinite(score)]
        edges = {min(self.scores), max(self.scores)} if self.scores else set()
        return self.rate in edges and len(self.scores) > 1 and (len(finite) == 1 or len(set(finite)) > 1)


def sweep(design: Design, rows: dict[Key, Row], arm: Arm, labelled: int) -> Sweep:
    """The sweep of an arm at an n as far as it is in the table; of equal scores the smallest rate is the best."""
    found = {cell.rate: rows[cell.key] for cell in tuning_cells(design, arm, labelled) if cell.key in rows}
    scores = {rate: row.score if row.ok else math.nan for rate, row in sorted(found.items())}
    complete = len(found) == len(tuning_cells(design, arm, labelled))
    sign = 1.0 if design.better == "higher" else -1.0
    finite = {rate: sign * score for rate, score in scores.items() if math.isfinite(score)}
    best = max(finite, key=lambda rate: finite[rate]) if complete and finite else None
    return Sweep(best, scores, complete)


def comparison_cell(design: Design, arm: Arm, labelled: int, seed: int, rate: float) -> Cell:
    """The run of an arm in the comparison."""
    return Cell("comparison", arm, labelled, seed, rate, design.epochs)


def converged_cell(design: Design, labelled: int, seed: int, rate: float) -> Cell:
    """Scratch with many times the epochs."""
    return Cell("converged", BASELINE, labelled, seed, rate, design.converged_epochs)


def planned(design: Design, rows: dict[Key, Row]) -> list[Cell]:
    """All cells whose learning rate is known, in the order in which they are to run.

    Sweeps first; then the comparison seed by seed, so that a study that is stopped has complete pairs; then scratch
    trained for longer. An arm whose sweep failed or is not complete has no cells of the comparison yet.
    """
    everyone = arms(design)
    cells = [cell for n in design.labelled for arm in everyone for cell in tuning_cells(design, arm, n)]
    rates = {(arm, n): sweep(design, rows, arm, n).rate for arm in everyone for n in design.labelled}
    for seed in range(design.seeds):
        for n in design.labelled:
            for arm in everyone:
                rate = rates[arm, n]
                if rate is not None:
                    cells.append(comparison_cell(design, arm, n, seed, rate))
    for seed in range(design.converged_seeds if design.converged else 0):
        for n in design.labelled:
            rate = rates[BASELINE, n]
            if rate is not None:
                cells.append(converged_cell(design, n, seed, rate))
    return cells


def total(design: Design) -> int:
    """Number of cells of the whole study."""
    each = sum(len(tuning_cells(design, arm, 0)) + design.seeds for arm in arms(design))
    return len(design.labelled) * (each + (design.converged_seeds if design.converged else 0))


def latest(rows: Iterable[Row]) -> dict[Key, Row]:
    """Key -> its last row: a run that was tried again counts as it ended last."""
    return {row_key(row): row for row in rows}


def outstanding(design: Design, rows: Sequence[Row], running: Iterable[Cell], retry_before: int = 0) -> list[Cell]:
    """Cells that may be started now.

    Args:
        design: the study.
        rows: the table.
        running: cells that are being run.
        retry_before: failed rows among so many first ones do not count: their cells run again.
    """
    counted = latest(row for index, row in enumerate(rows) if row.ok or index >= retry_before)
    taken = {cell.key for cell in running} | set(counted)
    return [cell for cell in planned(design, counted) if cell.key not in taken]
