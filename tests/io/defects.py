"""Generators of tiny scans, whole ones and defective ones. Nothing here uses the code under test."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
PATIENT_NAME = "Canary^Jane"
PATIENT_ID = "MRN-CANARY-77"


def pixels(rows: int, columns: int, seed: int = 0, top: int = 2000) -> NDArray[np.uint16]:
    """Random stored values (rows, columns) from 0 to top, both ends present."""
    values = np.random.default_rng(seed).integers(0, top + 1, (rows, columns)).astype(np.uint16)
    values[0, 0], values[-1, -1] = 0, top
    return values


def slice_dataset(
    stored: NDArray[np.generic],
    position: Sequence[float],
    *,
    series: str,
    modality: str = "CT",
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.8, 0.7),
    thickness: float = 2.5,
    rescale: tuple[float, float] | None = (1, -1024),
) -> Dataset:
    """One uncompressed single-frame DICOM data set, with planted patient data."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CT_CLASS if modality == "CT" else MR_CLASS
    ds.SOPInstanceUID = generate_uid()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientName, ds.PatientID = PATIENT_NAME, PATIENT_ID
    ds.SeriesInstanceUID, ds.Modality = series, modality
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows, ds.Columns = stored.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * stored.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.PixelSpacing = [str(value) for value in spacing]
    ds.SliceThickness = str(thickness)
    ds.ImageOrientationPatient = [f"{value:.9f}" for value in orientation]
    ds.ImagePositionPatient = [f"{value:.6f}" for value in position]
    if rescale is not None:
        ds.RescaleSlope, ds.RescaleIntercept = (str(value) for value in rescale)
    ds.PixelData = stored.tobytes()
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def series(
    count: int = 6,
    *,
    step: float = 2.5,
    rows: int = 8,
    columns: int = 10,
    modality: str = "CT",
    orientation: Sequence[float] = AXIAL,
    rescale: tuple[float, float] | None = (1, -1024),
) -> list[Dataset]:
    """Data sets of a regular series; slice n has the pixels of seed n."""
    uid = generate_uid()
    normal = np.cross(orientation[:3], orientation[3:])
    return [
        slice_dataset(
            pixels(rows, columns, seed=n),
            np.array([-10.0, -20.0, 30.0]) + n * step * normal,
            series=uid,
            modality=modality,
            orientation=orientation,
            rescale=rescale,
        )
        for n in range(count)
    ]


def save_series(datasets: Sequence[Dataset], folder: Path, prefix: str = "im") -> Path:
    """Write data sets into a folder; returns the folder."""
    for number, ds in enumerate(datasets):
        save(ds, folder / f"{prefix}{number:03d}.dcm")
    return folder


def colour(ds: Dataset) -> Dataset:
    """Make a slice RGB."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = bytes(ds.Rows * ds.Columns * 3)
    return ds


def undecodable(ds: Dataset, transfer_syntax: str) -> Dataset:
    """Claim a compressed transfer syntax around bytes that are no such stream."""
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.PixelData = encapsulate([b"\x00\x01\x02\x03" * 8])
    ds["PixelData"].is_undefined_length = True
    return ds


def image(shape: Sequence[int] = (6, 5, 4), dtype: str = "int16") -> NDArray[np.generic]:
    """Random image values."""
    return np.random.default_rng(1).integers(0, 200, tuple(shape)).astype(dtype)


AFFINE = np.array([[-1.5, 0, 0, 30], [0, 2.0, 0, -40], [0, 0, 3.0, 5], [0, 0, 0, 1]], dtype=float)


def save_nifti(
    path: Path,
    array: NDArray[np.generic],
    *,
    sform: NDArray[np.float64] | None = AFFINE,
    qform: NDArray[np.float64] | None = AFFINE,
    units: int | None = None,
) -> Path:
    """Write a NIfTI-1 file; None leaves the form uncoded, `units` is the raw xyzt_units code."""
    img = nib.Nifti1Image(array, sform if sform is not None else AFFINE)
    img.set_sform(sform, code=0 if sform is None else 1)
    img.set_qform(qform, code=0 if qform is None else 1)
    if units is not None:
        img.header["xyzt_units"] = units
    nib.save(img, path)
    return path


def nifti_bytes(array: NDArray[np.generic]) -> bytearray:
    """An uncompressed NIfTI-1 file as bytes, to be damaged by hand."""
    img = nib.Nifti1Image(array, AFFINE)
    return bytearray(img.to_bytes())


def set_dims(data: bytearray, dims: Sequence[int]) -> bytearray:
    """Overwrite dim (NIfTI-1: eight int16 at byte 40)."""
    struct.pack_into("<8h", data, 40, *dims)
    return data


def set_sform_rows(data: bytearray, rows: Sequence[float]) -> bytearray:
    """Overwrite srow_x, srow_y, srow_z (NIfTI-1: twelve float32 at byte 280) and clear the qform code (byte 252)."""
    struct.pack_into("<12f", data, 280, *rows)
    struct.pack_into("<h", data, 252, 0)
    return data


def write_gz(path: Path, data: bytes) -> Path:
    """Write bytes compressed."""
    path.write_bytes(gzip.compress(bytes(data)))
    return path
