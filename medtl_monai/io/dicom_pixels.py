"""Stored pixels to physical values: decoding, inversion, rescale, and the choice of the smallest sufficient type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from medtl_monai.errors import FormatError, IntensityError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom_header import PARSE_ERRORS, PIXEL_DATA_TAGS, SliceHeader

PIXEL_TAGS = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    *PIXEL_DATA_TAGS,
]
DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError, InvalidDicomError)
RAW_CT_MAXIMUM = 1000  # HU above this with none below 0: no air in the picture, so these are not HU


def read_pixels(header: SliceHeader, *, case: str) -> NDArray[np.generic]:
    """Stored pixels (rows, columns) of one slice, MONOCHROME1 turned to MONOCHROME2, not rescaled.

    Raises:
        FormatError: no decoder for the transfer syntax, or pixel data cut short or damaged.
    """
    _check_decoder(header, case)
    try:
        dataset = pydicom.dcmread(header.path, specific_tags=list(PIXEL_TAGS))
        _check_length(dataset, header, case)
        pixels = np.asarray(dataset.pixel_array)
    except DECODE_ERRORS as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise _broken(header, case, f"pixels in {_syntax_name(header)}", got) from error
    if pixels.shape != (header.rows, header.columns):
        raise _broken(header, case, f"{header.rows} x {header.columns} pixels", f"shape {pixels.shape}")
    return _inverted(pixels, header) if header.photometric == "MONOCHROME1" else pixels


def _syntax_name(header: SliceHeader) -> str:
    return f"{UID(header.transfer_syntax).name or 'an unknown transfer syntax'} ({header.transfer_syntax or 'absent'})"


def _broken(header: SliceHeader, case: str, expected: str, got: str) -> FormatError:
    return FormatError(
        "pixel data are damaged or cut short",
        case=case,
        path=header.path,
        expected=expected,
        got=got,
        remedy="copy or export the file again",
    )


def _check_decoder(header: SliceHeader, case: str) -> None:
    try:
        decoder = get_decoder(UID(header.transfer_syntax))
        missing = [] if decoder.is_available else list(decoder.missing_dependencies)
    except NotImplementedError:
        missing = ["no decoder in pydicom"]
    if not missing:
        return
    raise FormatError(
        f"no decoder for transfer syntax {_syntax_name(header)}",
        case=case,
        path=header.path,
        expected="one of: " + "; ".join(missing),
        got="none installed",
        remedy="install one, or export the series as Explicit VR Little Endian or JPEG 2000",
    )


def _check_length(dataset: Any, header: SliceHeader, case: str) -> None:
    if not any(keyword in dataset for keyword in PIXEL_DATA_TAGS):
        raise _broken(header, case, "pixel data", "none (is the file whole?)")
    if UID(header.transfer_syntax).is_compressed or "PixelData" not in dataset:
        return
    needed = header.rows * header.columns * header.samples * -(-int(dataset.BitsAllocated) // 8)
    found = len(dataset.PixelData)
    if found < needed:
        raise _broken(header, case, f"{needed} bytes of pixels", f"{found} bytes")


def _inverted(pixels: NDArray[np.generic], header: SliceHeader) -> NDArray[np.generic]:
    """Mirror the stored range, so that larger values are brighter."""
    top = -1 if header.signed else 2**header.bits_stored - 1
    return np.asarray(top - pixels.astype(np.int64)).astype(pixels.dtype)


def rescaled_stack(raws: Sequence[NDArray[np.generic]], slices: Sequence[SliceHeader]) -> NDArray[np.generic]:
    """Physical values (columns, rows, slices) of stored pixels (rows, columns) with each slice's slope and intercept.

    int16, or int32 where the range needs it, if every slope and intercept is whole; float32 otherwise.
    """
    factors = [(1.0 if h.slope is None else h.slope, 0.0 if h.intercept is None else h.intercept) for h in slices]
    dtype = _value_dtype(raws, factors)
    columns_rows = raws[0].shape[::-1]
    stack = np.empty((*columns_rows, len(raws)), dtype=dtype, order="F")
    exact = np.int64 if dtype.kind == "i" else np.float64
    for index, (raw, (slope, intercept)) in enumerate(zip(raws, factors, strict=True)):
        stack[:, :, index] = (raw.astype(exact) * exact(slope) + exact(intercept)).T
    return stack


def _value_dtype(raws: Sequence[NDArray[np.generic]], factors: Sequence[tuple[float, float]]) -> np.dtype[np.generic]:
    whole = all(float(value).is_integer() for pair in factors for value in pair)
    if not whole or any(raw.dtype.kind == "f" for raw in raws):
        return np.dtype(np.float32)
    ends = [
        int(end) * int(slope) + int(intercept)
        for raw, (slope, intercept) in zip(raws, factors, strict=True)
        for end in (raw.min(), raw.max())
    ]
    for candidate in (np.int16, np.int32):
        if np.iinfo(candidate).min <= min(ends) and max(ends) <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float32)


def check_ct(slices: Sequence[SliceHeader], array: NDArray[np.generic], *, case: str, path: Path) -> None:
    """Refuse CT values that are not Hounsfield units.

    Raises:
        IntensityError: MONOCHROME1, or no rescale tags and a range that cannot be HU.
    """
    if slices[0].modality != "CT":
        return
    if slices[0].photometric == "MONOCHROME1":
        remedy = "export the original series (MONOCHROME2)"
        raise IntensityError(
            "CT is stored inverted", case=case, path=path, expected="MONOCHROME2", got="MONOCHROME1", remedy=remedy
        )
    low, high = array.min(), array.max()
    if slices[0].slope is None and slices[0].intercept is None and low >= 0 and high > RAW_CT_MAXIMUM:
        raise IntensityError(
            "CT values are not Hounsfield units",
            case=case,
            path=path,
            expected="RescaleSlope and RescaleIntercept, or air near -1000 HU",
            got=f"no rescale tags, minimum {low}, maximum {high}",
            remedy="export the series with its rescale tags",
        )


def inversion_finding(slices: Sequence[SliceHeader], case: str) -> list[Finding]:
    """A Finding where the series was stored inverted."""
    if slices[0].photometric != "MONOCHROME1":
        return []
    return [Finding("dicom.monochrome1", "warning", "photometric interpretation MONOCHROME1", "values inverted", case)]
