"""Fingerprints: one number by which a scan or a file is known again."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtl_monai.errors import DataError, FormatError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.io.volume import Volume

AFFINE_DECIMALS = 3  # mm; the accuracy to which two affines count as one (io.geometry.AFFINE_ATOL_MM)


def fingerprint(volume: Volume) -> str:
    """SHA-256 (64 hex digits) of shape, voxel values and affine.

    Values are compared as float64, so that the storage type (uint8, float32) and the memory order do not matter; the
    affine is rounded to `AFFINE_DECIMALS`. Integers above 2**53 may share a fingerprint with their neighbour.

    Raises:
        FormatError: the voxels are not real numbers.
    """
    affine = np.round(volume.affine, AFFINE_DECIMALS) + 0.0  # + 0.0: -0.0 and 0.0 are one number
    return hashlib.sha256(_voxel_digest(volume.array) + affine.astype("<f8").tobytes()).hexdigest()


def voxel_fingerprint(array: NDArray[np.generic]) -> str:
    """SHA-256 (64 hex digits) of shape and voxel values alone: the same scan under another header has the same one.

    Raises:
        FormatError: the voxels are not real numbers.
    """
    return _voxel_digest(array).hex()


def _voxel_digest(array: NDArray[np.generic]) -> bytes:
    if array.dtype.kind not in "buif":
        raise FormatError("voxels are not real numbers", expected="bool, integer or float", got=array.dtype)
    digest = hashlib.sha256(str(tuple(array.shape)).encode())
    for index in range(array.shape[-1]):  # slice by slice: a whole CT in float64 would take gigabytes
        digest.update((array[..., index].astype("<f8") + 0.0).tobytes(order="F"))
    return digest.digest()


def file_sha256(path: str | PathLike[str]) -> str:
    """SHA-256 (64 hex digits) of the bytes of one file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError("cannot read the file", path=path, got=error.strerror) from error


def series_sha256(folder: str | PathLike[str]) -> str:
    """SHA-256 (64 hex digits) of all files directly in a folder (a DICOM series), whatever their names and order.

    Raises:
        DataError: a file cannot be read, or there is none.
    """
    files = [entry for entry in Path(folder).iterdir() if entry.is_file()]
    if not files:
        raise DataError("no files to fingerprint", path=folder)
    return hashlib.sha256("".join(sorted(file_sha256(file) for file in files)).encode()).hexdigest()
