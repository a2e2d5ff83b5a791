"""What a classification datalist must fulfil: each function returns its problems as texts, none when all is well."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

TASK = "classification"
SPLITS = ("training", "validation", "test")
_TOP = ("task", "classes", *SPLITS)
_ROW, _ROW_MAY = ("case", "image", "class"), ("patient",)


@dataclass(frozen=True)
class ClassCase:
    """One image with its class.

    Attributes:
        case: name of the case, unique in the datalist and usable as a file name.
        image: path relative to the dataset folder, with forward slashes.
        label: number of its class.
        patient: whom the case is of; all cases of one patient are in one split.
    """

    case: str
    image: str
    label: int
    patient: str


def class_problems(classes: Mapping[int, str]) -> list[str]:
    """What is wrong with the numbers and names of the classes."""
    problems = []
    if len(classes) < 2 or sorted(classes) != list(range(len(classes))):
        problems.append(f"classes must be numbered 0, 1, ..., two at least, not {list(classes)}")
    problems += [f"class {value} has no name" for value, name in classes.items() if not _is_text(name)]
    twice = [name for name, count in Counter(map(str, classes.values())).items() if count > 1]
    return problems + [f"two classes have the name {name!r}" for name in twice]


def case_problems(cases: Iterable[ClassCase]) -> list[str]:
    """Case names that are no file names, and paths that are absolute or lead out of the dataset folder."""
    problems = []
    for case in cases:
        if case.case in (".", "..") or re.search(r"[/\\\x00]", case.case):
            problems.append(f"case name {case.case!r} is no file name")
        if _escapes(case.image):
            problems.append(f"case {case.case}: path {case.image!r} is absolute or leads out of the dataset folder")
    return problems


def split_problems(classes: Mapping[int, str], splits: Mapping[str, Sequence[ClassCase]]) -> list[str]:
    """Cases and files that occur twice, patients in two splits, and classes that have no name."""
    cases = [case for name in SPLITS for case in splits[name]]
    names = Counter(case.case for case in cases)
    files = Counter(str(PurePosixPath(case.image)) for case in cases)  # "./a.png" and "a.png" are one file
    problems = [f"case {name} is listed {count} times" for name, count in names.items() if count > 1]
    problems += [f"file {name} is listed {count} times" for name, count in files.items() if count > 1]
    problems += [f"case {case.case}: class {case.label} has no name" for case in cases if case.label not in classes]
    places: dict[str, list[str]] = {}
    for split in SPLITS:
        for patient in sorted({case.patient for case in splits[split]}):
            places.setdefault(patient, []).append(split)
    return problems + [
        f"patient {name} is in {' and '.join(where)}" for name, where in places.items() if len(where) > 1
    ]


def content_problems(content: Mapping[str, Any]) -> list[str]:
    """Where the JSON content of a classification datalist departs from its layout."""
    problems = _key_problems("datalist", content, _TOP)
    if problems:
        return problems
    if not isinstance(content["classes"], dict):
        return ["classes must be an object of number to name"]
    plain = re.compile(r"0|[1-9][0-9]{0,8}")
    problems = [f"class {key!r} is no plain integer" for key in content["classes"] if not plain.fullmatch(key)]
    for name in SPLITS:
        rows = content[name]
        if not isinstance(rows, list):
            problems.append(f"{name} must be a list")
            continue
        for number, row in enumerate(rows):
            problems += _row_problems(f"{name}[{number}]", row)
    return problems


def _row_problems(where: str, row: object) -> list[str]:
    if not isinstance(row, dict):
        return [f"{where} must be an object"]
    problems = _key_problems(where, row, _ROW, _ROW_MAY)
    for key, value in row.items():
        if key == "class" and (not isinstance(value, int) or isinstance(value, bool)):
            problems.append(f"{where}: class must be an integer, not {value!r}")
        elif key in ("case", "image", "patient") and not _is_text(value):
            problems.append(f"{where}: {key} must be a text, not {value!r}")
    return problems


def _key_problems(where: str, row: Mapping[str, Any], needed: tuple[str, ...], may: tuple[str, ...] = ()) -> list[str]:
    missing = [f"{where}: key {key!r} is missing" for key in needed if key not in row]
    return missing + [f"{where}: unknown key {key!r}" for key in row if key not in needed + may]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _escapes(path: str) -> bool:
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return posix.is_absolute() or bool(windows.anchor) or ".." in windows.parts or "\x00" in path
