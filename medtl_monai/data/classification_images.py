"""The images of a classification task: what counts as one, its name, and its voxels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from medtl_monai.data.pairs import is_series_folder
from medtl_monai.errors import FormatError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom import read_dicom_file, read_dicom_series
from medtl_monai.io.dicom_files import is_dicom
from medtl_monai.io.nifti import case_name, is_nifti_name, read_nifti
from medtl_monai.io.picture import PICTURE_SUFFIXES, Colour, is_picture_name, read_picture

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUPPORTED = "NIfTI (.nii, .nii.gz), DICOM files or folders of a series, PNG or JPEG"


def is_image_file(path: Path) -> bool:
    """Whether a file is an image of a kind that is read: NIfTI, DICOM, PNG, JPEG."""
    if not path.is_file():
        return False
    return is_nifti_name(path) or is_picture_name(path) or path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path)


def is_image(path: Path) -> bool:
    """Whether a path is an image file, or a folder with one DICOM series."""
    return is_image_file(path) or is_series_folder(path)


def image_name(path: PurePath) -> str:
    """File name without the suffix of its kind; a DICOM file named by a UID without suffix keeps its whole name."""
    suffix = path.suffix.lower()
    return path.stem if suffix in (*PICTURE_SUFFIXES, *DICOM_SUFFIXES) else case_name(Path(path.name))


def read_image(
    path: str | PathLike[str], *, case_id: str | None = None, colour: Colour = "refuse"
) -> tuple[NDArray[np.generic], tuple[Finding, ...]]:
    """Voxels and findings of one image file or DICOM series: (I, J, K) for scans, (H, W) for pictures.

    Raises:
        FormatError: of no known kind; and the errors of the reader of its kind.
    """
    file = Path(path)
    if file.is_dir():
        volume = read_dicom_series(file, case_id=case_id)
    elif is_nifti_name(file):
        volume = read_nifti(file, case_id=case_id)
    elif is_picture_name(file):
        picture = read_picture(file, case_id=case_id, colour=colour)
        return picture.array, picture.findings
    elif is_image_file(file):
        volume = read_dicom_file(file, case_id=case_id)
    else:
        raise FormatError("not an image", case=case_id, path=file, expected=SUPPORTED)
    return volume.array, volume.findings
