"""The datalist: which image belongs to which label, and which patient is in which split, written down in one file."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from medtl_monai.data.datalist_rules import (
    FORMAT,
    SPLITS,
    Case,
    duplicates,
    label_problems,
    layout_problems,
    path_problems,
    patients_in_two_splits,
)
from medtl_monai.data.pairs import pair_files
from medtl_monai.errors import ConfigError, DataError
from medtl_monai.io.atomic import write_json
from medtl_monai.io.nifti import read_nifti

__all__ = ["FORMAT", "SPLITS", "Case", "Datalist", "draw_order", "make_datalist", "patients_of"]


@dataclass(frozen=True)
class Datalist:
    """Label names and the cases of each split; made only if it is free of contradictions.

    Attributes:
        labels: name of every label value, e.g. ``{0: "background", 1: "anterior"}``.
        splits: the cases of ``"training"``, ``"validation"`` and ``"test"`` (each may be empty).
        seed: the seed that the split was drawn with (a record, not used again).

    Raises:
        ConfigError: labels or split names are wrong, or a path is absolute or leads out of the dataset folder.
        DataError: a case, patient or file occurs where it must not. All problems are in one message.
    """

    labels: dict[int, str]
    splits: dict[str, tuple[Case, ...]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if set(self.splits) != set(SPLITS):
            raise ConfigError("wrong splits in the datalist", expected=list(SPLITS), got=list(self.splits))
        _raise_all(ConfigError, [*label_problems(self.labels), *path_problems(self._all())])
        _raise_all(DataError, [*duplicates(self._all()), *patients_in_two_splits(self.splits)])

    def _all(self) -> list[Case]:
        return [case for name in SPLITS for case in self.splits[name]]

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Datalist:
        """Read a datalist from JSON.

        Raises:
            ConfigError: the file is absent, no JSON, of another format, or has unknown, missing or repeated keys.
            DataError: its content contradicts itself (see the class).
        """
        content = _read_json(Path(path))
        _raise_all(ConfigError, layout_problems(content), path)
        splits = {name: tuple(Case(**{"patient": row["case"], **row}) for row in content[name]) for name in SPLITS}
        try:
            return cls({int(value): name for value, name in content["labels"].items()}, splits, content["seed"])
        except (ConfigError, DataError) as error:
            raise type(error)(error.problem, path=path, expected=error.expected, got=error.got) from error

    def save(self, path: str | PathLike[str]) -> None:
        """Write the datalist as JSON, whole or not at all.

        Raises:
            OutputError: the file could not be written.
        """
        write_json(path, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Content of the JSON file; ``patient`` is left out where it is the name of the case."""
        labels = {str(value): self.labels[value] for value in sorted(self.labels)}
        return {
            "format": FORMAT,
            "labels": labels,
            "seed": self.seed,
            **{name: [_row(case) for case in self.splits[name]] for name in SPLITS},
        }


def _row(case: Case) -> dict[str, str]:
    row = {"case": case.case, "image": case.image, "label": case.label}
    return row if case.patient == case.case else {**row, "patient": case.patient}


def _raise_all(kind: type[ConfigError | DataError], problems: list[str], path: object = None) -> None:
    if problems:
        raise kind("bad datalist: " + "; ".join(problems), path=None if path is None else str(path))


def _read_json(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        _raise_all(ConfigError, [f"key {key!r} is given twice" for key in twice], path)
        return dict(pairs)

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise ConfigError("cannot read the datalist", path=path, got=error.strerror) from error
    except ValueError as error:
        raise ConfigError("the datalist is no JSON text", path=path, got=error) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        got = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ConfigError("not a datalist", path=path, expected=f'"format": "{FORMAT}"', got=repr(got))
    return content


def make_datalist(
    folder: str | PathLike[str],
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    patient_pattern: str | None = None,
    label_names: Mapping[int, str] | None = None,
    folders: tuple[str, str] = ("images", "labels"),
) -> Datalist:
    """Pair ``folder/images`` with ``folder/labels`` by name and split the patients at random.

    The split depends on the patients' names and the seed only, not on the order in which the disk lists them.

    Args:
        folder: the dataset folder.
        validation, test: fraction of the patients (not cases) for these splits; rounded, at least one patient if
            above 0; the rest is for training.
        seed: seed of the split.
        patient_pattern: regular expression searched for in the case name; its first group is the patient. Without
            it, every case is a patient of its own.
        label_names: name of every label value. Without it, all label files are read and the values found are named
            ``background`` (0) and ``label_<value>``.
        folders: names of the two folders, where they are called otherwise.

    Raises:
        ConfigError: fractions, pattern or label names make no sense.
        DataError: the folder is not laid out as pairs, or has too few patients. See `pair_files` for the kinds.
    """
    pairs = pair_files(folder, folders)
    patients = patients_of(list(pairs), patient_pattern)
    split_of = _split_patients(set(patients.values()), validation, test, seed)
    splits: dict[str, list[Case]] = {name: [] for name in SPLITS}
    for name, (image, label) in pairs.items():
        row = Case(name, f"{folders[0]}/{image.name}", f"{folders[1]}/{label.name}", patients[name])
        splits[split_of[row.patient]].append(row)
    names = _names_of_found(label for _, label in pairs.values()) if label_names is None else dict(label_names)
    return Datalist(names, {name: tuple(rows) for name, rows in splits.items()}, seed)


def draw_order(names: Iterable[str], seed: int, purpose: str) -> list[str]:
    """Names in a random order that is the same on every machine and version: that of their salted SHA-256.

    Adding a name moves no other, and the first N are a subset of the first N + 1.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest())


def _split_patients(patients: set[str], validation: float, test: float, seed: int) -> dict[str, str]:
    for word, fraction in (("validation", validation), ("test", test)):
        if not 0 <= fraction < 1:
            raise ConfigError(f"bad fraction for {word}", expected="0 or more, below 1", got=fraction)
    counts = [max(1, round(fraction * len(patients))) if fraction else 0 for fraction in (test, validation)]
    if sum(counts) >= len(patients):
        raise DataError(
            "no patient is left for training",
            expected=f"more than {sum(counts)} patients ({counts[0]} for test, {counts[1]} for validation)",
            got=len(patients),
            remedy="use smaller fractions or more patients",
        )
    names = ["test"] * counts[0] + ["validation"] * counts[1]
    names += ["training"] * (len(patients) - len(names))
    return dict(zip(draw_order(patients, seed, "split"), names, strict=True))


def patients_of(cases: list[str], pattern: str | None) -> dict[str, str]:
    """Patient of every case: the first group of ``pattern`` in its name; without a pattern the case itself.

    Raises:
        ConfigError: the pattern is no regular expression, has no group, or finds nothing in some case.
    """
    if pattern is None:
        return {case: case for case in cases}
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"patient_pattern {pattern!r} is no regular expression", got=error) from error
    if not compiled.groups:
        raise ConfigError(
            f"patient_pattern {pattern!r} has no group", expected="the patient in brackets: '^(p[0-9]+)_'"
        )
    found = {case: compiled.search(case) for case in cases}
    patients = {case: match.group(1) for case, match in found.items() if match and match.group(1)}
    strangers = [case for case in cases if case not in patients]
    if strangers:
        raise ConfigError(f"patient_pattern {pattern!r} finds no patient in {len(strangers)} cases: {strangers}")
    return patients


def _names_of_found(labels: Iterable[Path]) -> dict[int, str]:
    values = {0}
    for label in labels:
        values |= {int(value) for value in np.unique(read_nifti(label, kind="label").array)}
    return {value: f"label_{value}" if value else "background" for value in sorted(values)}
