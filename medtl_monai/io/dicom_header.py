"""The header of one DICOM slice: what reading needs, and nothing about the patient."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from medtl_monai.errors import FormatError

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
PIXEL_DATA_TAGS = ["PixelData", "FloatPixelData", "DoubleFloatPixelData"]
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
DEFER_BYTES = 1024  # longer values are left in the file
UNDEFINED_LENGTH = 0xFFFFFFFF  # DICOM PS3.5, section 7.1.1
STANDARD_ROOT = "1.2.840.10008"  # every identifier of the standard starts so, DICOM PS3.5 section 9
IMAGE_CLASS = "Image Storage"  # in the name of every SOP class of images, DICOM PS3.6 table A-1


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


class _ImpossibleTagError(ValueError):
    """A tag is absent or impossible; the text holds no value from the file."""


def read_slice_header(path: Path) -> SliceHeader:
    """Header of one DICOM file.

    Raises:
        FormatError: not DICOM, cut short inside the header, or a tag with an impossible value.
    """
    try:
        # Large values are skipped, not read; that the pixel data are there and whole shows that nothing is cut off.
        dataset = pydicom.dcmread(path, defer_size=DEFER_BYTES, specific_tags=HEADER_TAGS + PIXEL_DATA_TAGS)
        _check_whole(path, dataset)
        return _slice_header(path, dataset)
    except InvalidDicomError as error:
        got = f"none in {path.stat().st_size} bytes"
        raise FormatError("not a DICOM file", path=path, expected="the mark DICM", got=got) from error
    except PARSE_ERRORS as error:
        got = f"{type(error).__name__} while parsing" if not isinstance(error, _ImpossibleTagError) else str(error)
        raise FormatError("DICOM header is damaged", path=path, got=got, remedy="copy or export it again") from error


def _sop_class(dataset: Any) -> UID:
    meta = getattr(dataset, "file_meta", None)
    return UID(str(dataset.get("SOPClassUID") or getattr(meta, "MediaStorageSOPClassUID", "")))


def _may_lack_pixels(sop_class: UID) -> bool:
    """Whether this is a known class without images (reports, directories) or a private one; never a cut-off name."""
    if sop_class.name != str(sop_class):
        return IMAGE_CLASS not in sop_class.name
    return not sop_class.startswith(STANDARD_ROOT) and not STANDARD_ROOT.startswith(sop_class)


def _check_whole(path: Path, dataset: Any) -> None:
    tag = next((tag for tag in PIXEL_DATA_TAGS if tag in dataset), None)
    if tag is None:
        if not _may_lack_pixels(_sop_class(dataset)):
            raise _ImpossibleTagError("an image without pixel data: cut short?")
        return
    element = dataset.get_item(tag, keep_deferred=True)  # raw: its value was not read where it is large
    end = element.value_tell + element.length if element.length != UNDEFINED_LENGTH else 0
    size = path.stat().st_size
    if end > size:
        raise _ImpossibleTagError(f"cut short: {size} bytes where {end} are declared")


def _slice_header(path: Path, dataset: Any) -> SliceHeader:
    meta = getattr(dataset, "file_meta", None)
    image_type = [str(part).upper() for part in _list(dataset.get("ImageType"))]
    return SliceHeader(
        path=path,
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        sop_class=_sop_class(dataset).name or "unknown",
        transfer_syntax=str(getattr(meta, "TransferSyntaxUID", "")),
        modality=str(dataset.get("Modality") or "").upper(),
        is_localizer="LOCALIZER" in image_type,
        is_image=any(tag in dataset for tag in PIXEL_DATA_TAGS),
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
        raise _ImpossibleTagError(f"{keyword} is not {count} finite numbers")
    return numbers


def _number(dataset: Any, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None
