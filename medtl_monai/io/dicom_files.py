"""The DICOM slices in a folder: which files they are and what their headers say. Patient data are never read."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from medtl_monai.errors import FormatError
from medtl_monai.findings import Finding

# Only these tags are parsed: names, birth dates and numbers of patients never enter the process's own data.
HEADER_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelSpacing",
    "SliceThickness",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
]
# What a damaged header can make pydicom raise, besides its own InvalidDicomError.
PARSE_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    EOFError,
    OSError,
    RecursionError,
    struct.error,
    zlib.error,
    BytesLengthException,
)
MAGIC_OFFSET = 128  # DICOM PS3.10, section 7.1: preamble, then "DICM"


@dataclass(frozen=True)
class SliceHeader:
    """What one DICOM file says about its image; None or an empty tuple where a tag is absent.

    Lengths are in mm, positions and orientations in LPS, `pixel_spacing` is (between rows, between columns).
    """

    path: Path
    series_uid: str
    sop_class: str
    transfer_syntax: str
    modality: str
    is_localizer: bool
    is_image: bool
    frames: int
    samples: int
    photometric: str
    rows: int
    columns: int
    bits_stored: int
    signed: bool
    pixel_spacing: tuple[float, ...]
    thickness: float | None
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    slope: float | None
    intercept: float | None
    has_lut: bool


def is_dicom(path: Path) -> bool:
    """Whether the file carries the DICOM mark after its preamble."""
    with path.open("rb") as stream:
        stream.seek(MAGIC_OFFSET)
        return stream.read(4) == b"DICM"


def contains_dicom(folder: Path) -> bool:
    """Whether a file directly inside the folder is DICOM."""
    return any(is_dicom(path) for path in sorted(folder.iterdir()) if path.is_file())


def default_case_id(series_uid: str) -> str:
    """A case name from the hash of the series identifier, so that it names no patient."""
    return f"series_{hashlib.sha256(series_uid.encode()).hexdigest()[:8]}"


def scan_folder(folder: Path) -> tuple[list[SliceHeader], list[Finding]]:
    """Headers of the DICOM images directly inside `folder`, and a Finding for what is not an image.

    Raises:
        FormatError: no DICOM image at all, or headers that cannot be read (all of them are named).
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    dicom = [path for path in files if is_dicom(path)]
    findings = _ignored("dicom.other_files", "not DICOM", [path for path in files if path not in set(dicom)])
    headers, broken = [], []
    for path in dicom:
        try:
            headers.append(read_slice_header(path))
        except FormatError as error:
            broken.append(f"{path.name} ({error.got})")
    if broken:
        got = "; ".join(broken)
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


def read_slice_header(path: Path) -> SliceHeader:
    """Header of one DICOM file.

    Raises:
        FormatError: not DICOM, cut short inside the header, or a tag with an impossible value.
    """
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))
        return _slice_header(path, dataset)
    except InvalidDicomError as error:
        raise FormatError("not a DICOM file", path=path, expected="the mark DICM", got="none") from error
    except PARSE_ERRORS as error:
        got = f"{type(error).__name__} while parsing"
        raise FormatError("DICOM header is damaged", path=path, got=got, remedy="copy or export it again") from error


def _slice_header(path: Path, dataset: Any) -> SliceHeader:
    meta = getattr(dataset, "file_meta", None)
    image_type = [str(part).upper() for part in _list(dataset.get("ImageType"))]
    return SliceHeader(
        path=path,
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        sop_class=UID(str(dataset.get("SOPClassUID") or "")).name or "unknown",
        transfer_syntax=str(getattr(meta, "TransferSyntaxUID", "")),
        modality=str(dataset.get("Modality") or "").upper(),
        is_localizer="LOCALIZER" in image_type,
        is_image=dataset.get("Rows") is not None and dataset.get("Columns") is not None,
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        photometric=str(dataset.get("PhotometricInterpretation") or "").upper(),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        bits_stored=int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 0),
        signed=bool(int(dataset.get("PixelRepresentation") or 0)),
        pixel_spacing=_numbers(dataset, "PixelSpacing", 2),
        thickness=_number(dataset, "SliceThickness"),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        position=_numbers(dataset, "ImagePositionPatient", 3),
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        has_lut="ModalityLUTSequence" in dataset,
    )


def _list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | float | int) else list(value)


def _numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in _list(dataset.get(keyword)))
    if not numbers:
        return ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{keyword} is not {count} finite numbers")
    return numbers


def _number(dataset: Any, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None
