"""A strict NIfTI reader: one volume, truly read, or an error that names the file and the reason."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from medtl_monai.errors import FormatError
from medtl_monai.findings import Finding
from medtl_monai.io.nifti_header import AffineChoice, NiftiHeader, header_affine, read_header
from medtl_monai.io.nifti_stream import finish, open_nifti, read_exactly
from medtl_monai.io.volume import Volume
from medtl_monai.io.voxels import as_labels, check_image

Kind = Literal["image", "label"]

SUFFIXES = (".nii.gz", ".nii")


def is_nifti_name(path: Path) -> bool:
    """Whether the name ends in .nii or .nii.gz."""
    return path.name.lower().endswith(SUFFIXES)


def case_name(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def read_nifti(
    path: str | PathLike[str],
    *,
    case_id: str | None = None,
    affine: AffineChoice = "auto",
    kind: Kind = "image",
) -> Volume:
    """Read one 3-D NIfTI file (.nii, .nii.gz; NIfTI-1 or NIfTI-2).

    Args:
        path: the file.
        case_id: name of the case; by default the file name without .nii or .nii.gz.
        affine: "auto" takes sform before qform and refuses if both are coded and disagree by more than half a voxel;
            "sform" or "qform" takes that one.
        kind: "image" (integers stay, floating point becomes float32) or "label" (whole numbers).

    Returns:
        Volume with array (I, J, K) as stored and affine (4, 4) in RAS+ mm. A 2-D file has K = 1.

    Raises:
        FormatError: not NIfTI, damaged, cut short, more than one volume, or a voxel type that is not read.
        GeometryError: the affine is ambiguous or not usable.
        IntensityError: NaN or infinite voxels; an image whose voxels are all equal.
        LabelError: a label that is not a whole number.
    """
    file = Path(path)
    case = case_id if case_id is not None else case_name(file)
    if not is_nifti_name(file) or not file.is_file():
        raise FormatError("not a NIfTI file", case=case, path=file, expected="an existing file named .nii or .nii.gz")
    with open_nifti(file, case) as stream:
        header = read_header(stream, file, case)
        matrix, findings = header_affine(header, affine, file, case)
        read_exactly(stream, header.offset - header.size, file, case)
        data = read_exactly(stream, header.voxel_bytes, file, case)
        left = finish(stream, file, case)
    if left:
        message = f"{left} bytes follow the voxels"
        findings.append(Finding("nifti.trailing_bytes", "warning", message, "ignored", case))
    array = _scaled(header, data, file, case)
    array, value_findings = _checked(array, kind, file, case)
    return Volume(array, matrix, case, None, (*findings, *value_findings))


def _scaled(header: NiftiHeader, data: bytearray, path: Path, case: str) -> NDArray[np.generic]:
    stored = np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order="F")
    stored = stored.astype(header.dtype.newbyteorder("="), copy=False)
    try:
        slope, inter = header.raw.get_slope_inter()
    except HeaderDataError as error:
        raise FormatError("intensity scaling is damaged", case=case, path=path, got=str(error)) from error
    return apply_read_scaling(stored, slope, inter)


def _checked(
    array: NDArray[np.generic], kind: Kind, path: Path, case: str
) -> tuple[NDArray[np.generic], list[Finding]]:
    if kind == "label":
        return as_labels(array, case=case, path=path)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused below
            array = array.astype(np.float32, copy=False)
    return array, check_image(array, case=case, path=path)
