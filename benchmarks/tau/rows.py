"""Rows that survive a kill: one JSON object per line, written whole before the next piece of work begins."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All whole rows; a last line that a kill cut off is removed from the file."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with path.open("rb+") as stream:
            stream.truncate(end)
    return [json.loads(line) for line in data[:end].splitlines()]


def append_row(path: Path, row: Row) -> None:
    """Write a row and wait until it is on the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def key_of(row: Row) -> tuple[str, str, str, int, float]:
    """What a row is about."""
    return row["kind"], row["dataset"], row["source"], row["seed"], row.get("rate", 0.0)
