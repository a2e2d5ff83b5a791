"""What a run.json must be: one function that names everything wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from medtl_monai.plain import FOLDERS, sha256_of

FORMAT = "medtl-run/1"
PACKAGES = ("medtl_monai", "torch", "monai", "numpy", "nibabel", "pydicom")
STATES = ("running", "finished", "failed", "stopped")
_NUMBER, _OBJECT = (int, float), (dict,)
_TYPES: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "state": (str,),
    "error": (dict, type(None)),
    "started": (str,),
    "finished": (str, type(None)),
    "wall_s": _NUMBER,
    "peak_memory_mb": (*_NUMBER, type(None)),
    "command": (list,),
    "config": (object,),
    "config_sha256": (str,),
    "versions": _OBJECT,
    "platform": (str,),
    "cpu_count": (int, type(None)),
    "threads": _OBJECT,
    "git": (dict, type(None)),
    "seeds": _OBJECT,
    "weights": (list,),
    "data": _OBJECT,
    "findings": (list,),
    "metrics": _OBJECT,
}


def validate_record(record: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the content of a run.json, as texts; an empty list if nothing is."""
    problems = [f"key {key!r} is missing" for key in _TYPES if key not in record]
    problems += [f"unknown key {key!r}" for key in record if key not in _TYPES]
    problems += [
        f"{key} has the wrong type {type(record[key]).__name__}"
        for key, kinds in _TYPES.items()
        if key in record and not isinstance(record[key], kinds)
    ]
    if problems:
        return problems
    if record["format"] != FORMAT:
        problems.append(f"format is {record['format']!r}, not {FORMAT!r}")
    return [*problems, *_end_problems(record), *_hash_problems(record), *_row_problems(record), *_text_problems(record)]


def _end_problems(record: Mapping[str, Any]) -> list[str]:
    state = record["state"]
    if state not in STATES:
        return [f"unknown state {state!r}"]
    problems = []
    if (record["finished"] is None) != (state == "running"):
        problems.append(f"finished is {record['finished']!r} in state {state}")
    if state != "stopped" and (record["error"] is None) == (state == "failed"):
        problems.append(f"error is {record['error']!r} in state {state}")
    for key in ("started", "finished"):
        if record[key] is not None and not _is_utc(record[key]):
            problems.append(f"{key} is no UTC time: {record[key]!r}")
    return problems


def _is_utc(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _hash_problems(record: Mapping[str, Any]) -> list[str]:
    try:
        same = sha256_of(record["config"]) == record["config_sha256"]
        sha256_of(dict(record))
    except (TypeError, ValueError) as error:
        return [f"not strict JSON: {error}"]
    problems = [] if same else ["config_sha256 is not that of the config"]
    own = {key: value for key, value in record.items() if key not in ("config", "metrics")}
    for place, value in _walk(own):
        if place.endswith("sha256") and value is not None and not re.fullmatch("[0-9a-f]{64}", str(value)):
            problems.append(f"{place} is no SHA-256: {value!r}")
    return problems


def _row_problems(record: Mapping[str, Any]) -> list[str]:
    problems = [f"versions: {name} is missing" for name in ("python", *PACKAGES) if name not in record["versions"]]
    rows: list[tuple[str, Any, tuple[str, ...]]] = [
        (f"weights[{i}]", row, ("name", "file", "sha256", "licence", "report")) for i, row in _rows(record["weights"])
    ]
    rows += [(f"findings[{i}]", row, ("code", "severity", "message")) for i, row in _rows(record["findings"])]
    for split, cases in record["data"].items():
        rows += [(f"data.{split}[{i}]", row, ("case", "image", "image_sha256")) for i, row in _rows(cases)]
    for place, row, keys in rows:
        problems += [f"{place}: {key} is missing" for key in keys if not isinstance(row, dict) or key not in row]
    return problems


def _rows(rows: object) -> list[tuple[int, Any]]:
    return list(enumerate(rows)) if isinstance(rows, list) else [(0, rows)]


def _text_problems(record: Mapping[str, Any]) -> list[str]:
    return [
        f"{place} holds an absolute path"
        for place, value in _walk(record)
        if isinstance(value, str) and FOLDERS.search(value)
    ]


def _walk(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _walk(item, f"{place}[{number}]")
    else:
        yield place, value
