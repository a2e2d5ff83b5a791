"""Scans of a folder (NIfTI files, DICOM series in folders of their own), and images paired with labels by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from medtl_monai.errors import DataError, FormatError, LabelError
from medtl_monai.io.dicom_files import contains_dicom
from medtl_monai.io.nifti import case_name, is_nifti_name

LAYOUT = "images/NAME.nii.gz with labels/NAME.nii.gz"
# Left behind by operating systems in any folder they show; "._*" are the resource forks of macOS.
_DEBRIS = {".DS_Store", "Thumbs.db", "desktop.ini"}


def is_debris(name: str) -> bool:
    """Whether a file is left behind by an operating system and never data."""
    return name in _DEBRIS or name.startswith("._")


def is_nifti_file(entry: Path) -> bool:
    """Whether an entry of a folder is a file named .nii or .nii.gz, and not nothing but that suffix."""
    return is_nifti_name(entry) and bool(case_name(entry)) and entry.is_file()


def is_series_folder(entry: Path) -> bool:
    """Whether an entry of a folder is a folder with DICOM files directly inside: one series, one scan."""
    return entry.is_dir() and not entry.name.startswith(".") and contains_dicom(entry)


def by_case_name(files: list[Path]) -> dict[str, Path]:
    """NIfTI files (and folders of DICOM series) by case name, sorted.

    Raises:
        FormatError: files whose names differ only in the suffix; all are named.
    """
    cases: dict[str, list[Path]] = {}
    for file in sorted(files):
        cases.setdefault(case_name(file), []).append(file)
    clashes = [" and ".join(file.name for file in same) for same in cases.values() if len(same) > 1]
    if clashes:
        raise FormatError(
            f"files with one case name: {'; '.join(clashes)}",
            path=files[0].parent,
            remedy="keep one of them: their results would have the same name",
        )
    return {name: same[0] for name, same in cases.items()}


def match_files(images: Path, labels: Path) -> tuple[dict[str, tuple[Path, Path]], list[str], list[str]]:
    """Pairs by case name, the cases without label, and the labels without image; each sorted.

    An image is a NIfTI file or a folder with one DICOM series; a label is a NIfTI file.

    Raises:
        DataError: a folder is absent.
        FormatError: something else lies in the folders, or two files have one case name.
    """
    found, masks = _cases_in(images, series=True), _cases_in(labels, series=False)
    pairs = {name: (found[name], masks[name]) for name in sorted(found.keys() & masks.keys())}
    return pairs, sorted(found.keys() - masks.keys()), sorted(masks.keys() - found.keys())


def pair_files(
    folder: str | PathLike[str], names: tuple[str, str] = ("images", "labels")
) -> dict[str, tuple[Path, Path]]:
    """Image and label of every case in the two folders ``names`` of a folder, paired by name, sorted.

    Raises:
        DataError: a folder is absent, or there are no images.
        FormatError: something else than scans lies in the folders, or two files have one case name.
        LabelError: an image without label or a label without image; all are named.
    """
    root = Path(folder)
    pairs, unlabelled, unused = match_files(root / names[0], root / names[1])
    problems = []
    if unlabelled:
        problems.append(f"{len(unlabelled)} images without label: {', '.join(unlabelled)}")
    if unused:
        problems.append(f"{len(unused)} labels without image: {', '.join(unused)}")
    if problems:
        raise LabelError(
            "; ".join(problems),
            path=folder,
            expected="the same names in images and labels",
            got=f"{len(pairs) + len(unlabelled)} images and {len(pairs) + len(unused)} labels",
            remedy="add the missing files or move the single ones away",
        )
    if not pairs:
        raise DataError("no images", path=folder, expected=LAYOUT, got="two empty folders")
    return pairs


def _cases_in(folder: Path, *, series: bool) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"no folder {folder.name}", path=folder.parent, expected=LAYOUT)
    entries = [entry for entry in folder.iterdir() if not is_debris(entry.name)]
    others = sorted(
        entry.name for entry in entries if not (is_nifti_file(entry) or (series and is_series_folder(entry)))
    )
    if others:
        also = ", or folders with one DICOM series each" if series else ""
        raise FormatError(
            f"{len(others)} entries that are no NIfTI files: {', '.join(others)}",
            path=folder,
            expected=f"only files named NAME.nii.gz or NAME.nii{also}",
            remedy="move them away",
        )
    return by_case_name(entries)
