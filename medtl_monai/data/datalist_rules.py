"""What a datalist must fulfil: each function returns its problems as texts, an empty list when there are none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

FORMAT = "medtl-datalist/1"
SPLITS = ("training", "validation", "test")
_CASE_KEYS = ("case", "image", "label")


@dataclass(frozen=True)
class Case:
    """One image with its label.

    Attributes:
        case: name of the case, unique in the datalist and usable as a file name.
        image, label: paths relative to the dataset folder, with forward slashes.
        patient: whom the case is of; all cases of one patient are in one split.
    """

    case: str
    image: str
    label: str
    patient: str


def label_problems(labels: Mapping[int, str]) -> list[str]:
    """What is wrong with the names of the label values."""
    problems = [] if labels else ["no labels"]
    problems += [f"label value {value!r} is not an integer from 0" for value in labels if not _is_count(value)]
    problems += [f"label {value!r} has no name" for value, name in labels.items() if not _is_text(name)]
    twice = [name for name, count in Counter(map(str, labels.values())).items() if count > 1]
    return problems + [f"two label values have the name {name!r}" for name in twice]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def path_problems(cases: Iterable[Case]) -> list[str]:
    """Case names that are no file names, and paths that are absolute or lead out of the dataset folder."""
    problems = []
    for case in cases:
        if case.case in (".", "..") or re.search(r"[/\\\x00]", case.case):
            problems.append(f"case name {case.case!r} is no file name")
        problems += [
            f"case {case.case}: path {path!r} is absolute or leads out of the dataset folder"
            for path in (case.image, case.label)
            if _escapes(path)
        ]
    return problems


def _escapes(path: str) -> bool:
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return posix.is_absolute() or bool(windows.anchor) or ".." in windows.parts or "\x00" in path


def duplicates(cases: list[Case]) -> list[str]:
    """Cases and files that are listed more than once."""
    names = Counter(case.case for case in cases)
    # PurePosixPath: "./images/a.nii" and "images/a.nii" are one file.
    files = Counter(str(PurePosixPath(path)) for case in cases for path in (case.image, case.label))
    problems = [f"case {name} is listed {count} times" for name, count in names.items() if count > 1]
    return problems + [f"file {name} is listed {count} times" for name, count in files.items() if count > 1]


def patients_in_two_splits(splits: Mapping[str, tuple[Case, ...]]) -> list[str]:
    """Patients whose cases are in more than one split."""
    found: dict[str, list[str]] = {}
    for name in SPLITS:
        for patient in sorted({case.patient for case in splits[name]}):
            found.setdefault(patient, []).append(name)
    return [f"patient {patient} is in {' and '.join(names)}" for patient, names in found.items() if len(names) > 1]


def layout_problems(content: dict[str, Any]) -> list[str]:
    """Where the JSON content of a datalist file departs from its layout."""
    needed = ("format", "labels", "seed", *SPLITS)
    problems = _key_problems("datalist", content, needed)
    if problems:
        return problems
    if not isinstance(content["labels"], dict):
        return ["labels must be an object of value to name"]
    problems += [f"label value {key!r} is no plain integer" for key in content["labels"] if not _plain_integer(key)]
    if not isinstance(content["seed"], int) or isinstance(content["seed"], bool):
        problems.append(f"seed must be an integer, not {content['seed']!r}")
    for name in SPLITS:
        rows = content[name]
        if not isinstance(rows, list):
            problems.append(f"{name} must be a list")
            continue
        for number, row in enumerate(rows):
            problems += _row_problems(f"{name}[{number}]", row)
    return problems


def _plain_integer(text: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]{0,8}", text) is not None


def _row_problems(where: str, row: object) -> list[str]:
    if not isinstance(row, dict):
        return [f"{where} must be an object"]
    problems = _key_problems(where, row, _CASE_KEYS, ("patient",))
    return problems + [f"{where}: {key} must be a text, not {row[key]!r}" for key in row if not _is_text(row[key])]


def _key_problems(where: str, row: Mapping[str, Any], needed: tuple[str, ...], may: tuple[str, ...] = ()) -> list[str]:
    missing = [f"{where}: key {key!r} is missing" for key in needed if key not in row]
    return missing + [f"{where}: unknown key {key!r}" for key in row if key not in needed + may]
