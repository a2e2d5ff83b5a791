"""Layouts of classification data: a table, or a folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from medtl_monai.bundle.planning.found import Found, FoundCase, reason_of
from medtl_monai.bundle.planning.table import read_table, rows_of
from medtl_monai.data.classification_images import DICOM_SUFFIXES, is_image
from medtl_monai.data.classification_make import cases_of_folders, cases_of_rows
from medtl_monai.data.classification_rules import ClassCase
from medtl_monai.data.pairs import is_debris
from medtl_monai.errors import ConfigError, DataError, FormatError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom_header import read_slice_header

_NO_CLASSES = {"images", "labels", "masks", "imagestr", "labelstr", "imagests", "train", "val", "validation", "test"}


def class_table(root: Path, csv: str | PathLike[str], names: Mapping[int, str] | None) -> Found | str:
    """The cases that a table lists, or why there are none.

    Raises:
        ConfigError: a table was named and cannot be used, or there are several.
    """
    tables = [Path(csv)] if csv else sorted(file for file in root.glob("*.csv") if not is_debris(file.name))
    if not tables:
        return "no file *.csv in this folder"
    if len(tables) > 1:
        listed = ", ".join(table.name for table in tables)
        raise ConfigError("several tables", path=root, got=listed, remedy="say which one: --csv FILE")
    try:
        columns, lines = read_table(tables[0])
    except ConfigError as error:
        if csv:
            raise
        return reason_of(f"{tables[0].name}: {error.problem}", error.expected, error.got)
    rows, findings = rows_of(root, columns, lines)
    if not rows and not findings:
        return f"{tables[0].name} has no rows"
    classes, cases = cases_of_rows(rows, names, tables[0]) if rows else ({}, [])
    findings += _twice(cases) + _unlisted(root, cases)
    layout = f"a table ({tables[0].name}: {columns.described()})"
    return Found(layout, _found(cases), classes, tuple(findings), knows_patients=bool(columns.patient))


def class_folders(root: Path, names: Mapping[int, str] | None) -> Found | str:
    """The images in a folder per class, or why the folders are not that."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    strange = [folder.name for folder in folders if folder.name.lower() in _NO_CLASSES]
    if strange:
        return f"folders that are no classes: {', '.join(strange)}"
    try:
        if folders and all(_is_one_series(folder) for folder in folders):
            return f"the {len(folders)} folders hold one DICOM series each: cases, whose classes a table must tell"
        classes, cases = cases_of_folders(root, names)
    except (DataError, ConfigError) as error:
        return reason_of(error.problem, error.expected, error.got)
    return Found("a folder per class", _found(cases), classes)


def _is_one_series(folder: Path) -> bool:
    """Whether a folder holds at least two DICOM slices and its first two are of one series."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not is_debris(file.name))
    if len(files) < 2 or not all(is_image(file) and _may_be_dicom(file) for file in files[:2]):
        return False
    try:
        first, second = (read_slice_header(file).series_uid for file in files[:2])
    except FormatError:
        return False  # a damaged file: its reader will name it
    return bool(first) and first == second


def _may_be_dicom(file: Path) -> bool:
    return file.suffix.lower() in (*DICOM_SUFFIXES, "") or file.suffix[1:].isdigit()


def _found(cases: Sequence[ClassCase]) -> tuple[FoundCase, ...]:
    return tuple(FoundCase(case.case, case.image, case.label, case.patient) for case in cases)


def _twice(cases: Sequence[ClassCase]) -> list[Finding]:
    seen: dict[str, ClassCase] = {}
    findings = []
    for case in cases:
        other = seen.setdefault(case.image, case)
        if other is not case:
            what = "twice" if other.label == case.label else f"with two classes, {other.label} and {case.label}"
            message, remedy = f"image {case.image} is listed {what}", "keep one of the lines"
            findings.append(Finding("table.duplicate", "error", message, remedy, case.case))
    names: dict[str, str] = {}
    for case in cases:
        if names.setdefault(case.case, case.image) != case.image:
            message = f"two images have this case name: {names[case.case]} and {case.image}"
            remedy = "add a column 'case' with names of their own"
            findings.append(Finding("table.case_name", "error", message, remedy, case.case))
    return findings


def _unlisted(root: Path, cases: Sequence[ClassCase]) -> list[Finding]:
    """A warning for the images that lie beside listed ones and are in no line of the table."""
    listed = {case.image for case in cases}
    folders = sorted({Path(image).parent.as_posix() for image in listed})
    spare = [
        entry.name
        for folder in folders
        for entry in sorted((root / folder).iterdir())
        if not is_debris(entry.name)
        and (entry.relative_to(root).as_posix() not in listed)
        and not any(image.startswith(f"{entry.relative_to(root).as_posix()}/") for image in listed)
        and is_image(entry)
    ]
    if not spare:
        return []
    some = ", ".join(spare[:5]) + (", ..." if len(spare) > 5 else "")
    message = f"{len(spare)} images are in no line of the table: {some}"
    return [Finding("table.unlisted", "warning", message, "they are not used; add lines to use them")]
