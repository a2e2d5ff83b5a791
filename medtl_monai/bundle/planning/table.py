"""A user's table of images and classes, whatever its columns are called."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.data.classification_images import is_image
from medtl_monai.errors import ConfigError
from medtl_monai.findings import Finding

_IMAGE = ("image", "path", "file", "filename", "file_name", "filepath", "image_path", "img", "scan", "series",
          "image_id", "id", "name", "case", "case_id")  # fmt: skip
_CLASS = ("class", "label", "target", "diagnosis", "category", "y")
_PATIENT = ("patient", "patient_id", "patientid", "subject", "subject_id")
_CASE = ("case", "case_id")
_SUFFIXES = ("", ".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".dcm")
_FOLDERS = ("", "images")


@dataclass(frozen=True)
class Columns:
    """Which column is what, by the names in the table; empty where there is none."""

    image: str
    label: str
    patient: str
    case: str

    def described(self) -> str:
        """The columns in words."""
        parts = [("image", self.image), ("class", self.label), ("patient", self.patient), ("case", self.case)]
        return ", ".join(f"{what} from column {name!r}" for what, name in parts if name)


def read_table(path: Path) -> tuple[Columns, list[dict[str, str]]]:
    """The columns of a table and its lines; a blank line is an empty one, so that numbers stay right.

    Raises:
        ConfigError: it cannot be read, has lines of other length than the header, or columns that do not tell which
            one is the image and which the class.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.reader(stream, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("cannot read the table", path=path, got=error) from error
    header = [name.strip() for name in lines[0]] if lines else []
    ragged = [number for number, line in enumerate(lines[1:], 2) if line and len(line) != len(header)]
    if ragged:
        raise ConfigError(f"lines of other length than the header: {ragged[:20]}", path=path, expected=len(header))
    columns = find_columns(header, path)
    return columns, [{name: value.strip() for name, value in zip(header, line, strict=False)} for line in lines[1:]]


def find_columns(header: Sequence[str], path: Path) -> Columns:
    """Which column is what. The class is a column of a usual name, else the only one that is left.

    Raises:
        ConfigError: the columns do not tell.
    """
    names = {name.lower(): name for name in header}
    image = _first(names, _IMAGE)
    patient = _first(names, _PATIENT)
    case = next((names[word] for word in _CASE if word in names and names[word] != image), "")
    left = [name for name in header if name not in (image, patient, case)]
    label = _first({name.lower(): name for name in left}, _CLASS) or (left[0] if len(left) == 1 else "")
    if not image or not label or len(names) < len(header):
        raise ConfigError(
            "the columns do not tell which is the image and which the class",
            path=path,
            expected=f"a column {_words(_IMAGE[:4])} and one {_words(_CLASS[:3])} (and, if wanted, 'patient')",
            got=", ".join(map(repr, header)) or "an empty file",
            remedy="rename the columns to 'image' and 'class'",
        )
    return Columns(image, label, patient, case)


def rows_of(
    root: Path, columns: Columns, lines: Iterable[dict[str, str]]
) -> tuple[list[dict[str, str]], list[Finding]]:
    """Lines as rows with ``image`` (relative to ``root``), ``class`` and perhaps ``case``, ``patient``, and findings.

    An image may be named without its suffix and without the folder ``images``. A line whose image is not in the folder,
    or that has no class, is an error finding and no row.
    """
    rows, findings = [], []
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        wanted, label = line[columns.image], line[columns.label]
        found = _image(root, wanted)
        if found is None:
            message, remedy = f"line {number}: no image {wanted!r} in the dataset folder", "correct the path"
            findings.append(Finding("image.missing", "error", message, remedy, Path(wanted).name or None))
        if not label:
            remedy = "fill the class in, or delete the line"
            findings.append(Finding("label.missing", "error", f"line {number}: no class", remedy, Path(wanted).name))
        if found is not None and label:
            row = {"image": found, "class": label}
            row |= {key: line[name] for key, name in (("patient", columns.patient), ("case", columns.case)) if name}
            rows.append(row)
    return _with_class_words(rows), findings


def _with_class_words(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Numbers that are not 0, 1, 2, ... become names: only those can be numbered anew."""
    found = {row["class"] for row in rows}
    if all(re.fullmatch(r"-?[0-9]+", word) for word in found) and found != {str(n) for n in range(len(found))}:
        return [{**row, "class": f"class_{row['class']}"} for row in rows]
    return rows


def _first(names: dict[str, str], words: Iterable[str]) -> str:
    return next((names[word] for word in words if word in names), "")


def _words(words: Iterable[str]) -> str:
    return "/".join(repr(word) for word in words)


def _image(root: Path, wanted: str) -> str | None:
    """Path relative to ``root`` of the image that a cell names, or None."""
    if not wanted:
        return None
    home = Path(os.path.abspath(root))
    for folder in _FOLDERS:
        for suffix in _SUFFIXES:
            # Not resolve(): a link to a file elsewhere is in the folder all the same.
            place = Path(os.path.normpath(home / folder / f"{wanted}{suffix}"))
            if place.is_relative_to(home) and place != home and place.exists() and is_image(place):
                return place.relative_to(home).as_posix()
    return None
