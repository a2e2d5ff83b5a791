"""The rows of a study's table, as they stand in ``runs.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Literal, cast

from medtl_monai.errors import FormatError

Status = Literal["ok", "failed"]


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        run: name of the run; links its case scores.
        purpose: ``tuning``, ``comparison`` or ``converged``.
        source, strategy: the arm.
        labelled: number of labelled training cases.
        seed: of the draw of cases, the initial head and the order of batches.
        rate: learning rate.
        epochs: epochs asked for.
        split: split that judged the final weights.
        metric: name of the score.
        score: NaN for a failed run.
        train_loss: mean loss of the last epoch; NaN where no step was made.
        seconds: of the whole run, judging included.
        trainable: parameters that train at the end.
        parameters: all parameters of the network.
        cases: cases that were judged.
        network: name or class of the network.
        draw: hash of the names of the drawn training cases, in order.
        head: hash of the initial head, before any source is loaded.
        batches: hash of the names of the cases in the order of the batches; empty where no batch was drawn.
        status: ``ok`` or ``failed``.
        error: why it failed, in one line.
    """

    run: str
    purpose: str
    source: str
    strategy: str
    labelled: int
    seed: int
    rate: float
    epochs: int
    split: str
    metric: str
    score: float
    train_loss: float
    seconds: float
    trainable: int
    parameters: int
    cases: int
    network: str
    draw: str
    head: str
    batches: str
    status: Status
    error: str

    @property
    def ok(self) -> bool:
        """Whether the run finished."""
        return self.status == "ok"


@dataclass(frozen=True)
class CaseRow:
    """Score of one case in one run, mean over the metric's channels; NaN where the metric has none."""

    run: str
    case: str
    score: float


HEADER = tuple(field.name for field in fields(Row))
CASE_HEADER = tuple(field.name for field in fields(CaseRow))
_INTEGERS = {"labelled", "seed", "epochs", "trainable", "parameters", "cases"}
_NUMBERS = {"rate", "score", "train_loss", "seconds"}


def to_line(cells: Sequence[object]) -> str:
    """One line of CSV with its line end; NaN is an empty cell, text is kept in one line."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow([_to_cell(cell) for cell in cells])
    return stream.getvalue()


def run_line(row: Row) -> str:
    """The line of a run."""
    return to_line(astuple(row))


def case_line(row: CaseRow) -> str:
    """The line of a case score."""
    return to_line(astuple(row))


def read_runs(text: str) -> list[Row]:
    """Rows of ``runs.csv``, header included in the text. Raises FormatError, naming the lines that cannot be read."""
    return [Row(**_typed(record)) for record in _records(text, HEADER)]  # type: ignore[arg-type]


def read_case_rows(text: str) -> list[CaseRow]:
    """Rows of ``case_scores.csv``. Raises FormatError."""
    return [CaseRow(**_typed(record)) for record in _records(text, CASE_HEADER)]  # type: ignore[arg-type]


def _to_cell(cell: object) -> str:
    if isinstance(cell, float):
        return "" if math.isnan(cell) else repr(cell)
    return " | ".join(str(cell).split("\n")).replace("\r", "").replace("\0", "")


def _records(text: str, header: tuple[str, ...]) -> list[dict[str, str]]:
    lines = list(csv.reader(io.StringIO(text)))
    if not lines:
        return []
    bad = [number for number, line in enumerate(lines, start=1) if len(line) != len(header)]
    if bad or tuple(lines[0]) != header:
        raise FormatError(
            "the table of the study cannot be read",
            expected=f"the columns {', '.join(header)}",
            got=f"other columns in line {', '.join(map(str, bad or [1]))}",
            remedy="restore the file, or use another output folder",
        )
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _typed(record: dict[str, str]) -> dict[str, object]:
    try:
        return {name: _value(name, text, record) for name, text in record.items()}
    except ValueError as error:
        raise FormatError("the table of the study cannot be read", got=f"{error} in run {record['run']!r}") from error


def _value(name: str, text: str, record: dict[str, str]) -> object:
    if name in _INTEGERS:
        return int(text)
    if name in _NUMBERS:
        return float(text) if text else math.nan
    if name == "status" and text not in ("ok", "failed"):
        raise ValueError(f"status {text!r}")
    return cast(Status, text) if name == "status" else text
