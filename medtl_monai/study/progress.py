"""One line per finished run, with the time that is left."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from medtl_monai.study.cells import Cell, latest
from medtl_monai.study.rows import Row


class Progress:
    """Counts runs and estimates the time left.

    Args:
        total: runs of the whole study.
        jobs: runs at the same time.
    """

    def __init__(self, total: int, jobs: int) -> None:
        self.total, self.jobs = total, jobs

    def line(self, row: Row, rows: Sequence[Row], waiting: Sequence[Cell], running: Sequence[Cell]) -> str:
        """The line of a run that just ended.

        Args:
            row: its row.
            rows: the whole table, that row included.
            waiting: known cells without a row, those in work included.
            running: cells in work.
        """
        done = len(latest(rows))
        what = f"{row.purpose} {row.source} {row.strategy} n={row.labelled} seed={row.seed} rate={row.rate:g}"
        ended = f"{row.metric} {row.score:.4f}" if row.ok else f"FAILED: {row.error}"
        left = self.seconds_left(rows, waiting, running)
        rest = "" if left is None else f"; about {in_words(left)} left"
        return f"[{done}/{self.total}] {what}: {ended} ({row.seconds:.0f} s){rest}"

    def seconds_left(self, rows: Sequence[Row], waiting: Sequence[Cell], running: Sequence[Cell]) -> float | None:
        """Estimate from the seconds per epoch of the runs so far; None before the first one that finished."""
        pace: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            if row.ok:
                pace.setdefault((row.source, row.strategy), []).append(row.seconds / row.epochs)
        if not pace:
            return None
        usual = statistics.fmean(second for seconds in pace.values() for second in seconds)
        known = sum(
            cell.epochs * statistics.fmean(pace.get((cell.arm.source, cell.arm.strategy), [usual])) for cell in waiting
        )
        work = known - 0.5 * sum(cell.epochs * usual for cell in running)
        unknown = max(self.total - len(latest(rows)) - len(waiting), 0)  # cells whose learning rate is not chosen yet
        epochs = max((row.epochs for row in rows if row.purpose == "comparison"), default=rows[0].epochs)
        return max(work + unknown * usual * epochs, 0.0) / self.jobs


def in_words(seconds: float) -> str:
    """A length of time as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
