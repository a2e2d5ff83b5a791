"""The table of a study on disk: rows are only ever added, and only whole ones are read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medtl_monai.errors import ConfigError, FormatError, OutputError
from medtl_monai.io.atomic import write_text
from medtl_monai.study.rows import (
    CASE_HEADER,
    HEADER,
    CaseRow,
    Row,
    case_line,
    read_case_rows,
    read_runs,
    run_line,
    to_line,
)

RUNS, CASES, LOCK = "runs.csv", "case_scores.csv", "study.lock"


class Table:
    """``runs.csv`` and ``case_scores.csv`` of a folder, for the one process that adds to them.

    The row of a run is its last word: the case scores go to disk before it. Opening repairs what a kill or a power
    cut left behind: half a last line, and case scores of a run without a row, are dropped.

    Raises:
        FormatError: a line that is not the last cannot be read.
        OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _repair(folder / RUNS, HEADER)
        _repair(folder / CASES, CASE_HEADER)
        self.rows, self.case_rows = read_table(folder)
        known = {row.run for row in self.rows}
        kept = [row for row in self.case_rows if row.run in known]
        if len(kept) != len(self.case_rows):
            self.case_rows = kept
            write_text(folder / CASES, to_line(CASE_HEADER) + "".join(map(case_line, kept)))

    def add(self, row: Row, cases: Sequence[CaseRow]) -> None:
        """Add a finished run; on return it is on the disk. Raises OutputError."""
        if cases:
            _append(self.folder / CASES, map(case_line, cases))
        _append(self.folder / RUNS, [run_line(row)])
        self.rows.append(row)
        self.case_rows += cases


def read_table(folder: Path) -> tuple[list[Row], list[CaseRow]]:
    """Whole rows of both files; changes nothing, so that a study may be running. Raises FormatError."""
    found = []
    for name in (RUNS, CASES):
        path = folder / name
        text = path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else ""
        found.append(text[: text.rfind("\n") + 1])
    try:
        return read_runs(found[0]), read_case_rows(found[1])
    except FormatError as error:
        raise FormatError(
            error.problem, path=folder, expected=error.expected, got=error.got, remedy=error.remedy
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other studies out of a folder; the lock ends with the process, however that ends.

    Raises:
        ConfigError: another study runs there, or the system has no such locks.
    """
    try:
        import fcntl
    except ImportError as error:
        raise ConfigError("a study needs file locks", expected="Linux or macOS", got=os.name) from error
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OutputError("the folder cannot be locked", path=folder, got=error.strerror) from error
            raise ConfigError(
                "another study is running in this folder",
                path=folder,
                remedy="wait for its end, or choose another folder by --output",
            ) from error
        yield


def _repair(path: Path, header: tuple[str, ...]) -> None:
    data = path.read_bytes() if path.is_file() else b""
    whole = data.rfind(b"\n") + 1
    if whole == 0:
        write_text(path, to_line(header))
    elif whole < len(data):
        with path.open("rb+") as stream:
            stream.truncate(whole)
            os.fsync(stream.fileno())


def _append(path: Path, lines: Iterable[str]) -> None:
    try:
        with path.open("ab") as stream:
            stream.write("".join(lines).encode("utf-8", errors="replace"))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(
            "the row of a finished run cannot be written",
            path=path,
            got=error.strerror,
            remedy="make room; the same command goes on with this run",
        ) from error
