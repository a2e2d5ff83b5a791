"""The DICOM slices in a folder: which files they are, and which files are something else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from medtl_monai.errors import FormatError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom_header import SliceHeader, read_slice_header

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")  # such a file without the mark is a damaged slice, not a bystander
MAGIC_OFFSET = 128  # DICOM PS3.10, section 7.1: preamble, then "DICM"


def is_dicom(path: Path) -> bool:
    """Whether the file carries the DICOM mark after its preamble; FormatError where it cannot be opened."""
    try:
        with path.open("rb") as stream:
            stream.seek(MAGIC_OFFSET)
            return stream.read(4) == b"DICM"
    except OSError as error:
        raise FormatError("cannot be read", path=path, got=error.strerror, remedy="check permissions") from error


def contains_dicom(folder: Path) -> bool:
    """Whether a file directly inside the folder is DICOM, by its mark or by its name."""
    return any(_claims_dicom(path) for path in folder.iterdir() if path.is_file())


def _claims_dicom(path: Path) -> bool:
    return path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path)


def default_case_id(slices: Sequence[SliceHeader]) -> str:
    """A case name that names no patient: hash of the series identifier, or of the first file where that is blank."""
    first = min(slices, key=lambda header: header.path.name)
    source = first.series_uid.encode() or first.path.read_bytes()
    return f"series_{hashlib.sha256(source).hexdigest()[:8]}"


def scan_folder(folder: Path) -> tuple[list[SliceHeader], list[Finding]]:
    """Headers of the DICOM images directly inside `folder`, and a Finding for what is not an image.

    Raises:
        FormatError: no DICOM image at all, or headers that cannot be read (all of them are named).
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    dicom = [path for path in files if _claims_dicom(path)]
    findings = _ignored("dicom.other_files", "not DICOM", sorted(set(files) - set(dicom)))
    headers, broken = [], []
    for path in dicom:
        try:
            headers.append(read_slice_header(path))
        except FormatError as error:
            broken.append(f"{path.name} ({error.problem}, {error.got})")
    if broken:
        got = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
        raise FormatError("DICOM headers cannot be read", path=folder, got=got, remedy="copy or export them again")
    images = [header for header in headers if header.is_image]
    findings += _ignored("dicom.no_image", "DICOM without an image", [h.path for h in headers if not h.is_image])
    if not images:
        raise FormatError(
            "no DICOM images in this folder",
            path=folder,
            expected="files with the mark DICM that hold an image",
            got=f"{len(files)} files, {len(dicom)} of them DICOM",
            remedy="name the folder that holds the slices themselves",
        )
    return images, findings


def _ignored(code: str, what: str, paths: Sequence[Path]) -> list[Finding]:
    if not paths:
        return []
    names = ", ".join(path.name for path in paths[:5]) + (" ..." if len(paths) > 5 else "")
    return [Finding(code, "warning", f"{len(paths)} files are {what}: {names}", "ignored")]
