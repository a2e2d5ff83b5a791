"""Finding the images of a classification task and their classes, in folders or in a table."""

from __future__ import annotations

import csv as tables
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePosixPath

from medtl_monai.data.classification_images import image_name, is_image
from medtl_monai.data.classification_rules import ClassCase
from medtl_monai.data.classification_split import stratified_split
from medtl_monai.data.pairs import is_debris
from medtl_monai.errors import ConfigError, DataError, FormatError

_NEEDED, _MAY = ("image", "class"), ("patient", "case")
Splits = dict[str, tuple[ClassCase, ...]]


def make_classification_datalist(
    folder: Path,
    *,
    csv: str | PathLike[str],
    class_names: Mapping[int, str] | None,
    fractions: Mapping[str, float],
    seed: int,
    patient_pattern: str | None,
) -> tuple[dict[int, str], Splits]:
    """Class names and splits; see `medtl_monai.data.classification.make_classification_datalist`."""
    if not folder.is_dir():
        raise DataError("no such folder", path=folder, expected="the dataset folder")
    if csv and patient_pattern is not None and "patient" in _read_table(Path(csv))[0]:
        raise ConfigError("patients are given twice", expected="a column patient or patient_pattern, not both")
    names, cases = _from_table(Path(csv), class_names) if csv else cases_of_folders(folder, class_names)
    if patient_pattern is not None:
        cases = _with_patients(cases, patient_pattern)
    return names, stratified_split(cases, fractions=fractions, seed=seed)


def cases_of_folders(folder: Path, class_names: Mapping[int, str] | None) -> tuple[dict[int, str], list[ClassCase]]:
    """Class names and cases of a folder that holds a folder per class; images are files or folders of DICOM series.

    Raises:
        DataError: the folders are not the classes, or one is empty.
        FormatError: something else than images lies in them.
    """
    entries = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    found = [entry.name for entry in entries]
    names = dict(enumerate(found)) if class_names is None else dict(class_names)
    if set(found) != set(names.values()) or len(found) < 2:
        raise DataError(
            "the folders are not the classes",
            path=folder,
            expected=sorted(names.values()) if class_names else "a folder per class, two at least",
            got=found,
        )
    numbers = {name: number for number, name in names.items()}
    images = [(entry.name, file) for entry in entries for file in _images(entry)]
    unique = len({image_name(file) for _, file in images}) == len(images)
    return names, [
        ClassCase(name, f"{of}/{file.name}", numbers[of], name)
        for of, file in images
        for name in [image_name(file) if unique else f"{of}_{image_name(file)}"]
    ]


def _images(folder: Path) -> list[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not is_debris(entry.name))
    others = [entry.name for entry in entries if not is_image(entry)]
    if others:
        remedy = "move them away"
        raise FormatError(f"{len(others)} entries that are no images: {', '.join(others)}", path=folder, remedy=remedy)
    if not entries:
        raise DataError("no images", path=folder, expected="the images of a class")
    return entries


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = tables.DictReader(stream, skipinitialspace=True)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, tables.Error) as error:
        raise ConfigError("cannot read the table", path=path, got=error) from error
    columns = [name.strip() for name in reader.fieldnames or ()]
    unknown, missing = [n for n in columns if n not in _NEEDED + _MAY], [n for n in _NEEDED if n not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        expected = "columns image, class and, if wanted, patient and case"
        raise ConfigError("wrong columns in the table", path=path, expected=expected, got=columns)
    ragged = [str(number) for number, row in enumerate(rows, 2) if None in row or None in row.values()]
    if ragged:
        raise ConfigError(f"lines of other length than the header: {', '.join(ragged)}", path=path)
    return columns, [{name.strip(): value.strip() for name, value in row.items()} for row in rows]


def _from_table(path: Path, class_names: Mapping[int, str] | None) -> tuple[dict[int, str], list[ClassCase]]:
    _, rows = _read_table(path)
    empty = [f"line {n}: no {key}" for n, row in enumerate(rows, 2) for key, value in row.items() if not value]
    if empty or not rows:
        raise DataError(
            "; ".join(empty) or "the table has no rows", path=path, expected="an image and a class per line"
        )
    return cases_of_rows(rows, class_names, path)


def cases_of_rows(
    rows: Sequence[Mapping[str, str]], class_names: Mapping[int, str] | None, path: Path
) -> tuple[dict[int, str], list[ClassCase]]:
    """Class names and cases of rows with the keys ``image``, ``class`` and perhaps ``case`` and ``patient``.

    Raises:
        DataError: a class without a name; ``path`` is the table it names.
    """
    names = _class_names([row["class"] for row in rows], class_names)
    numbers = {**{name: number for number, name in names.items()}, **{str(number): number for number in names}}
    strangers = sorted({row["class"] for row in rows} - numbers.keys())
    if strangers:
        raise DataError("classes without a name in the table", path=path, expected=names, got=strangers)
    cases = []
    for row in rows:
        case = row.get("case") or image_name(PurePosixPath(row["image"]))
        cases.append(ClassCase(case, row["image"], numbers[row["class"]], row.get("patient") or case))
    return names, cases


def _class_names(found: Sequence[str], class_names: Mapping[int, str] | None) -> dict[int, str]:
    if class_names is not None:
        return dict(class_names)
    if all(re.fullmatch(r"0|[1-9][0-9]{0,8}", word) for word in found):
        return {number: f"class_{number}" for number in sorted(set(map(int, found)))}
    return dict(enumerate(sorted(set(found))))


def _with_patients(cases: Sequence[ClassCase], pattern: str) -> list[ClassCase]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"patient_pattern {pattern!r} is no regular expression", got=error) from error
    if not compiled.groups:
        raise ConfigError(
            f"patient_pattern {pattern!r} has no group", expected="the patient in brackets: '^(p[0-9]+)_'"
        )
    found = {case.case: compiled.search(case.case) for case in cases}
    strangers = [name for name, match in found.items() if not match or not match.group(1)]
    if strangers:
        raise ConfigError(f"patient_pattern {pattern!r} finds no patient in {len(strangers)} cases: {strangers}")
    return [ClassCase(c.case, c.image, c.label, match.group(1)) for c in cases if (match := found[c.case])]
