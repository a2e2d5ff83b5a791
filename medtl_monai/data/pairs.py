"""NIfTI files of a folder, and images paired with labels by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from medtl_monai.errors import DataError, FormatError, LabelError
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


def by_case_name(files: list[Path]) -> dict[str, Path]:
    """NIfTI files by case name, sorted.

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


def pair_files(folder: str | PathLike[str]) -> dict[str, tuple[Path, Path]]:
    """Image and label file of every case in ``folder/images`` and ``folder/labels``, paired by name, sorted.

    Raises:
        DataError: a folder is absent, or there are no images.
        FormatError: something else than NIfTI files lies in the folders, or two files have one case name.
        LabelError: an image without label or a label without image; all are named.
    """
    images, labels = (_cases_in(Path(folder) / name) for name in ("images", "labels"))
    unlabelled, unused = sorted(images.keys() - labels.keys()), sorted(labels.keys() - images.keys())
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
            got=f"{len(images)} images and {len(labels)} labels",
            remedy="add the missing files or move the single ones away",
        )
    if not images:
        raise DataError("no images", path=folder, expected=LAYOUT, got="two empty folders")
    return {name: (images[name], labels[name]) for name in sorted(images)}


def _cases_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"no folder {folder.name}", path=folder.parent, expected=LAYOUT)
    entries = [entry for entry in folder.iterdir() if not is_debris(entry.name)]
    others = sorted(entry.name for entry in entries if not is_nifti_file(entry))
    if others:
        raise FormatError(
            f"{len(others)} entries that are no NIfTI files: {', '.join(others)}",
            path=folder,
            expected="only files named NAME.nii.gz or NAME.nii",
            remedy="move them away",
        )
    return by_case_name(entries)
