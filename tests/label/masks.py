"""Masks as files of three kinds, for comparison voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np


def read_nrrd(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (I, J, K) and affine (4, 4, RAS mm) of a file that ITK reads."""
    image = itk.imread(str(path))
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return itk.array_from_image(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_mask(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of a NIfTI file."""
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Mean Dice of the values 1 and 2."""
    return float(
        np.mean([2 * ((one == v) & (other == v)).sum() / ((one == v).sum() + (other == v).sum()) for v in (1, 2)])
    )
