"""What a NIfTI header claims: shape, type, scaling, and where the voxels lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medtl_monai.errors import FormatError, GeometryError
from medtl_monai.findings import Finding
from medtl_monai.io.geometry import AFFINE_ATOL_MM, check_affine, has_shear, largest_displacement, show, spacing_of
from medtl_monai.io.nifti_stream import check_claim, read_exactly

AffineChoice = Literal["auto", "sform", "qform"]

HEADER_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # NIfTI-1 and NIfTI-2 standards, field sizeof_hdr
SINGLE_FILE_MAGIC = (b"n+1", b"n+2")
UNIT_FACTORS = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}  # NIfTI-1 xyzt_units: unknown (taken as mm), metre, mm, micrometre
UNIT_NAMES = {1: "metre", 3: "micrometre"}
MAX_SPACING_MM = 100.0  # no scan has larger voxels: beyond it the unit code, not the voxel size, is wrong
MIN_SPACING_MM = 1e-3
SFORM_QFORM_MAX_VOXELS = 0.5  # a float32 quaternion near 180 degrees may move a far corner by 0.2 mm, not by more


@dataclass(frozen=True)
class NiftiHeader:
    """A checked header.

    Attributes:
        raw: the nibabel header.
        shape: (I, J, K), trailing axes of length one removed.
        dtype: stored type, with its byte order.
        offset: byte where the voxels start.
        size: bytes of the header block.
    """

    raw: Any
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    size: int

    @property
    def voxel_bytes(self) -> int:
        """Bytes of the voxels."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(stream: BinaryIO, path: Path, case: str) -> NiftiHeader:
    """Read and check the header at the start of `stream`.

    Raises:
        FormatError: not a single-file NIfTI, a shape or a type that is not read, or a claim the file cannot hold.
    """
    start = bytes(read_exactly(stream, 4, path, case))
    size = next((s for s in HEADER_SIZES if start in (struct.pack("<i", s), struct.pack(">i", s))), None)
    if size is None:
        raise FormatError(
            "not a NIfTI file", case=case, path=path, expected="header size 348 or 540", got=start.hex(" ")
        )
    raw = HEADER_SIZES[size](start + bytes(read_exactly(stream, size - 4, path, case)), check=False)
    magic = bytes(raw["magic"])[:3]
    if magic not in SINGLE_FILE_MAGIC:
        raise FormatError("not a single-file NIfTI", case=case, path=path, expected="magic n+1 or n+2", got=repr(magic))
    shape, dtype, offset = _shape(raw, path, case), _dtype(raw, path, case), _offset(raw, size, path, case)
    header = NiftiHeader(raw, shape, dtype, offset, size)
    check_claim(path, case, needed=offset + header.voxel_bytes, shape=shape)
    return header


def _shape(raw: Any, path: Path, case: str) -> tuple[int, int, int]:
    axes = int(raw["dim"][0])
    dims = tuple(int(size) for size in raw["dim"][1 : axes + 1]) if 1 <= axes <= 7 else ()
    if not dims or min(dims) < 1:
        got = tuple(int(size) for size in raw["dim"])
        raise FormatError(
            "dimensions are empty or damaged", case=case, path=path, expected="sizes of 1 or more", got=got
        )
    while len(dims) > 3 and dims[-1] == 1:
        dims = dims[:-1]
    if len(dims) not in (2, 3):
        raise FormatError(
            "not one 3-D volume",
            case=case,
            path=path,
            expected="3 axes",
            got=f"shape {dims}",
            remedy="split the time points, directions or channels into one file each",
        )
    return dims[0], dims[1], dims[2] if len(dims) == 3 else 1


def _dtype(raw: Any, path: Path, case: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(raw.get_data_dtype())
    except (HeaderDataError, KeyError):  # nibabel raises KeyError for codes it does not know
        dtype = np.dtype("V0")
    if dtype.kind in "iuf" and 1 <= dtype.itemsize <= 8:
        return dtype
    name = {"c": "complex", "V": "colour (RGB) or unknown"}.get(dtype.kind, str(dtype))
    raise FormatError(
        "voxel type is not read",
        case=case,
        path=path,
        expected="integers, or floating point of at most 64 bits",
        got=f"NIfTI datatype {int(raw['datatype'])}, {name}",
        remedy="save magnitude or grey values as a plain image",
    )


def _offset(raw: Any, size: int, path: Path, case: str) -> int:
    offset = float(raw["vox_offset"])
    if np.isfinite(offset) and offset >= size and offset == int(offset):
        return int(offset)
    expected = f"a whole number of bytes, {size} or more"
    raise FormatError("voxel offset is damaged", case=case, path=path, expected=expected, got=offset)


def header_affine(
    header: NiftiHeader, choice: AffineChoice, path: Path, case: str
) -> tuple[NDArray[np.float64], list[Finding]]:
    """The affine (4, 4) in RAS+ mm that the header declares, and what had to be decided for it.

    Raises:
        GeometryError: sform and qform disagree, the chosen one is not coded, or the affine is not usable.
    """
    sform, qform = _coded(header, "sform", path, case), _coded(header, "qform", path, case)
    if choice == "auto":
        affine, findings = _automatic(header, sform, qform, path, case)
    else:
        chosen = sform if choice == "sform" else qform
        if chosen is None:
            raise GeometryError(f"{choice} is asked for but not coded", case=case, path=path, got=f"{choice}_code 0")
        affine = chosen
        findings = [Finding("nifti.affine_choice", "info", f"{choice} used because it was asked for", case=case)]
    check_affine(affine, case=case, path=path)
    affine, unit_findings = _in_millimetres(header, affine, path, case)
    findings += unit_findings
    if has_shear(affine):
        findings.append(
            Finding(
                "nifti.shear",
                "warning",
                f"voxel axes are not at right angles: {show(affine)}",
                "resampling to a regular grid removes the shear",
                case,
            )
        )
    return affine, findings


def _coded(header: NiftiHeader, which: str, path: Path, case: str) -> NDArray[np.float64] | None:
    if int(header.raw[f"{which}_code"]) <= 0:
        return None
    try:
        return np.asarray(getattr(header.raw, f"get_{which}")(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        other = "qform" if which == "sform" else "sform"
        remedy = f"repair the header; if {other} is right, clear {which}_code"
        raise GeometryError(f"{which} is damaged", case=case, path=path, got=str(error), remedy=remedy) from error


def _automatic(
    header: NiftiHeader,
    sform: NDArray[np.float64] | None,
    qform: NDArray[np.float64] | None,
    path: Path,
    case: str,
) -> tuple[NDArray[np.float64], list[Finding]]:
    if sform is None and qform is None:
        message = f"no coded affine; voxel size {header.raw.get_zooms()[:3]} from pixdim, orientation unknown"
        remedy = "do not use where left and right matter; export with sform or qform"
        return np.asarray(header.raw.get_base_affine(), dtype=np.float64), [
            Finding("nifti.no_affine", "warning", message, remedy, case)
        ]
    if sform is None or qform is None:
        return (sform if qform is None else qform), []  # type: ignore[return-value]
    return sform, _compare(header, sform, qform, path, case)


def _compare(
    header: NiftiHeader, sform: NDArray[np.float64], qform: NDArray[np.float64], path: Path, case: str
) -> list[Finding]:
    distance = largest_displacement(sform, qform, header.shape)
    if not distance <= SFORM_QFORM_MAX_VOXELS * spacing_of(sform).min():  # also true for NaN
        raise GeometryError(
            "sform and qform disagree",
            case=case,
            path=path,
            expected="one place for every voxel",
            got=f"{distance:.4g} mm apart: sform {show(sform)}, qform {show(qform)}",
            remedy="find out which is right and pass affine='sform' or affine='qform'",
        )
    if distance <= AFFINE_ATOL_MM:
        return []
    message = f"sform and qform differ by up to {distance:.3g} mm"
    return [Finding("nifti.affine_rounding", "info", message, "sform used", case)]


def _in_millimetres(
    header: NiftiHeader, affine: NDArray[np.float64], path: Path, case: str
) -> tuple[NDArray[np.float64], list[Finding]]:
    code = int(header.raw["xyzt_units"]) & 0x07
    factor = UNIT_FACTORS.get(code)
    if factor is None:
        raise GeometryError("unit code is unknown", case=case, path=path, expected="0 to 3", got=code)
    if factor == 1.0:
        return affine, []
    scaled = np.diag([factor, factor, factor, 1.0]) @ affine
    before, after = spacing_of(affine), spacing_of(scaled)
    message = f"unit {UNIT_NAMES[code]} (code {code}): spacing {_sizes(before)} is {_sizes(after)} mm"
    if after.max() > MAX_SPACING_MM or after.min() < MIN_SPACING_MM:
        remedy = "set the header's unit to mm if its numbers are millimetres"
        raise GeometryError("unit makes no sense", case=case, path=path, got=message, remedy=remedy)
    return scaled, [Finding("nifti.units", "warning", message, "affine converted to mm", case)]


def _sizes(spacing: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing)
