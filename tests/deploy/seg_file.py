"""A DICOM Segmentation put onto a grid by its geometry alone, without the library that wrote it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom


def labels_on_grid(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Label map (I, J, K) of the file's segments, each pixel put where its frame says it lies (DICOM C.7.6.2.1.1)."""
    file = pydicom.dcmread(path)
    pixels = file.pixel_array.reshape(-1, file.Rows, file.Columns)
    shared = file.SharedFunctionalGroupsSequence[0]
    across, down = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    to_voxel = np.linalg.inv(affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS mm to voxel
    labels = np.zeros(shape, np.uint8)
    for frame, groups in zip(pixels, file.PerFrameFunctionalGroupsSequence, strict=True):
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points = corner + np.outer(columns * between_columns, across) + np.outer(rows * between_rows, down)
        voxels = (to_voxel @ np.c_[points, np.ones(len(points))].T)[:3].T
        assert np.abs(voxels - np.rint(voxels)).max(initial=0) < 1e-2
        labels[tuple(np.rint(voxels).astype(int).T)] = segment
    return labels
