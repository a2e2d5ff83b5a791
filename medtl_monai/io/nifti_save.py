"""Saving a NIfTI image atomically: the written file is opened again and compared before it gets its name."""

from __future__ import annotations

import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from medtl_monai.errors import OutputError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.io.geometry import has_shear
from medtl_monai.io.nifti import SUFFIXES, is_nifti_name

SCANNER = 1  # NIfTI-1 code NIFTI_XFORM_SCANNER_ANAT


def set_affine(image: Any, affine: NDArray[np.float64]) -> None:
    """Store an affine (4, 4), RAS+ mm, in a nibabel image: sform and qform with the code for scanner coordinates.

    A qform cannot hold a shear; it stays uncoded then, since a second affine that differs would mislead.
    """
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=0 if has_shear(affine) else SCANNER)
    image.header.set_xyzt_units("mm")


def save_nifti(image: Any, path: str | PathLike[str]) -> None:
    """Save a nibabel NIfTI image whose data are in memory.

    Raises:
        OutputError: the name does not end in .nii or .nii.gz, the file cannot be written, or what was written reads
            back differently. Nothing new is at `path` then.
    """
    final = Path(path)
    if not is_nifti_name(final):
        raise OutputError("not a NIfTI name", path=final, expected=" or ".join(SUFFIXES), got=final.name)
    with atomic_write(final, check=lambda temporary: _compare(temporary, final, image)) as temporary:
        nib.save(image, temporary)


def _compare(temporary: Path, final: Path, image: Any) -> None:
    wanted = np.asanyarray(image.dataobj)
    try:
        found = nib.load(temporary)
        voxels = np.asanyarray(found.dataobj)
        same = voxels.shape == wanted.shape and np.array_equal(voxels, wanted, equal_nan=wanted.dtype.kind in "fc")
        same = same and np.allclose(found.affine, image.affine, rtol=1e-6, atol=1e-5)
    except (EOFError, zlib.error, ImageFileError) as error:
        raise _differs(final, str(error)) from error
    if not same:
        raise _differs(final, "other voxels or another affine")


def _differs(path: Path, got: str) -> OutputError:
    remedy = "check the disk; write to another folder"
    return OutputError("file reads back differently", path=path, expected="what was written", got=got, remedy=remedy)
