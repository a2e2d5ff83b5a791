"""Writing a label map as NIfTI."""

from __future__ import annotations

from os import PathLike

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtl_monai.errors import OutputError
from medtl_monai.io.geometry import check_affine
from medtl_monai.io.nifti_save import save_nifti, set_affine


def label_dtype(labels: NDArray[np.generic]) -> np.dtype[np.generic]:
    """uint8 where the labels fit, else uint16.

    Raises:
        OutputError: labels that are not whole numbers, negative, or above 65535.
    """
    expected = "whole numbers from 0 to 65535"
    if labels.dtype.kind not in "buif":
        raise OutputError("not a label map", expected=expected, got=str(labels.dtype))
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise OutputError("not a label map", expected=expected, got="fractions or NaN", remedy="round the labels first")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise OutputError("labels are out of range", expected=expected, got=f"{low} to {high}")
    return np.dtype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)


def label_image(labels: ArrayLike, affine: ArrayLike) -> nib.Nifti1Image:
    """A NIfTI image of a label map: smallest sufficient type, affine as `set_affine` stores it, mm.

    Raises:
        OutputError: not a 3-D label map of uint16 range.
        GeometryError: the affine is not usable.
    """
    array = np.asarray(labels)
    if array.ndim != 3 or array.size == 0:
        raise OutputError("not a 3-D label map", expected="three non-empty axes", got=array.shape)
    check_affine(affine, case=None)
    matrix = np.asarray(affine, dtype=np.float64)
    image = nib.Nifti1Image(array.astype(label_dtype(array)), matrix)
    set_affine(image, matrix)
    return image


def write_label_map(labels: ArrayLike, affine: ArrayLike, path: str | PathLike[str]) -> None:
    """Write labels (I, J, K) with affine (4, 4), RAS+ mm, as .nii or .nii.gz: whole and read back, or not at all.

    Raises:
        OutputError: labels beyond uint16 or not whole, a wrong name, or a file that cannot be written whole.
        GeometryError: the affine is not usable.
    """
    save_nifti(label_image(labels, affine), path)
