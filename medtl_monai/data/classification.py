"""The datalist of a classification task: which image is of which class, and which patient is in which split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from medtl_monai.data.classification_make import make_classification_datalist as _make
from medtl_monai.data.classification_rules import (
    SPLITS,
    TASK,
    ClassCase,
    case_problems,
    class_problems,
    content_problems,
    split_problems,
)
from medtl_monai.errors import ConfigError, DataError
from medtl_monai.io.atomic import write_json

__all__ = ["SPLITS", "TASK", "ClassCase", "ClassificationDatalist", "make_classification_datalist"]


@dataclass(frozen=True)
class ClassificationDatalist:
    """Class names and the cases of each split; made only if it is free of contradictions.

    Attributes:
        classes: name of every class, numbered from 0 without gaps, e.g. ``{0: "normal", 1: "haemorrhage"}``.
        splits: the cases of ``"training"``, ``"validation"`` and ``"test"`` (each may be empty).

    Raises:
        ConfigError: classes or split names are wrong, or a path is absolute or leads out of the dataset folder.
        DataError: a case, file or patient occurs where it must not, or a case has a class without name. All problems
            are in one message.
    """

    classes: dict[int, str]
    splits: dict[str, tuple[ClassCase, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.splits) != set(SPLITS):
            raise ConfigError("wrong splits in the datalist", expected=list(SPLITS), got=list(self.splits))
        cases = [case for name in SPLITS for case in self.splits[name]]
        _raise_all(ConfigError, [*class_problems(self.classes), *case_problems(cases)])
        _raise_all(DataError, split_problems(self.classes, self.splits))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ClassificationDatalist:
        """Read a datalist from JSON.

        Raises:
            ConfigError: the file is absent, no JSON, of another task, or has unknown, missing or repeated keys.
            DataError: its content contradicts itself (see the class).
        """
        content = _read_json(Path(path))
        _raise_all(ConfigError, content_problems(content), path)
        splits = {name: tuple(_case(row) for row in content[name]) for name in SPLITS}
        try:
            return cls({int(value): name for value, name in content["classes"].items()}, splits)
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
        classes = {str(value): self.classes[value] for value in sorted(self.classes)}
        return {
            "task": TASK,
            "classes": classes,
            **{name: [_row(case) for case in self.splits[name]] for name in SPLITS},
        }


def make_classification_datalist(
    folder: str | PathLike[str],
    *,
    csv: str | PathLike[str] = "",
    class_names: Mapping[int, str] | None = None,
    validation: float = 0.15,
    test: float = 0.25,
    seed: int = 0,
    patient_pattern: str | None = None,
) -> ClassificationDatalist:
    """List the images of a folder with their classes, and split the patients at random, classes in proportion.

    Without `csv`, every folder in `folder` is a class, named after it, and holds its images; classes are numbered in
    the alphabetical order of the folders. With `csv`, a file with the columns ``image`` (path relative to `folder`),
    ``class`` (a number or a name) and, if wanted, ``patient`` and ``case``.

    Args:
        folder: the dataset folder.
        csv: the table.
        class_names: the name of every class number; for folders it also sets their numbers. Without it, classes that
            the table gives as numbers are called ``class_<number>``.
        validation, test: fraction of the cases for these splits; approximate, since patients are not divided.
        seed: seed of the split; it depends on the names alone, not on the order of the disk or the table.
        patient_pattern: regular expression searched for in the case name; its first group is the patient. Without it
            and without a column ``patient``, every case is a patient of its own.

    Raises:
        ConfigError: fractions, pattern, class names or the table's columns make no sense.
        DataError: no images, rows that contradict each other, or a split that cannot get a patient of each class.
    """
    names, splits = _make(
        Path(folder),
        csv=csv,
        class_names=class_names,
        fractions={"validation": validation, "test": test},
        seed=seed,
        patient_pattern=patient_pattern,
    )
    return ClassificationDatalist(names, splits)


def _case(row: Mapping[str, Any]) -> ClassCase:
    return ClassCase(row["case"], row["image"], row["class"], row.get("patient", row["case"]))


def _row(case: ClassCase) -> dict[str, Any]:
    row = {"case": case.case, "image": case.image, "class": case.label}
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
    if not isinstance(content, dict) or content.get("task") != TASK:
        got = content.get("task") if isinstance(content, dict) else type(content).__name__
        raise ConfigError("not a classification datalist", path=path, expected=f'"task": "{TASK}"', got=repr(got))
    return content
