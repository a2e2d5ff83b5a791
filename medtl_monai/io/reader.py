"""One way to read a scan, chosen by what the path is; and the same reader for MONAI's LoadImaged."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from numpy.typing import NDArray

from medtl_monai.errors import FormatError, GeometryError
from medtl_monai.io.dicom import read_dicom_file, read_dicom_series
from medtl_monai.io.dicom_files import contains_dicom, is_dicom
from medtl_monai.io.geometry import same_grid, show
from medtl_monai.io.nifti import Kind, case_name, is_nifti_name, read_nifti
from medtl_monai.io.nifti_header import AffineChoice
from medtl_monai.io.picture import Colour, is_picture_name, picture_data, require_no_label
from medtl_monai.io.volume import Volume

PathName = str | PathLike[str]

SUPPORTED = "a .nii or .nii.gz file, a DICOM file, or a folder with the DICOM files of one series"
TORCH_TYPES = {"uint16": "int32", "uint32": "int64", "uint64": "float32"}  # torch computes little with the former


def read_volume(
    path: PathName, *, case_id: str | None = None, kind: Kind = "image", affine: AffineChoice = "auto"
) -> Volume:
    """Read a scan: NIfTI by its name, DICOM by its content.

    Args:
        path: NIfTI file, DICOM file, or folder with one DICOM series.
        case_id: name of the case; default see `read_nifti` and `read_dicom_series`.
        kind: "image" or "label"; a label map must be NIfTI.
        affine: see `read_nifti`; has no meaning for DICOM.

    Raises:
        FormatError: the path does not exist or is of no supported kind; and the errors of the chosen reader.
    """
    place = Path(path)
    if place.is_file() and is_nifti_name(place):
        return read_nifti(place, case_id=case_id, kind=kind, affine=affine)
    if kind == "image" and place.is_dir() and contains_dicom(place):
        return read_dicom_series(place, case_id=case_id)
    if kind == "image" and place.is_file() and (place.suffix.lower() == ".dcm" or is_dicom(place)):
        return read_dicom_file(place, case_id=case_id)
    raise FormatError(
        "cannot be read as a scan" if kind == "image" else "cannot be read as a label map",
        case=case_id if case_id is not None or not is_nifti_name(place) else case_name(place),
        path=place,
        expected=SUPPORTED if kind == "image" else "a .nii or .nii.gz file",
        got=_what(place),
        remedy="check the path",
    )


def _what(path: Path) -> str:
    if path.is_dir():
        return "a folder without DICOM files directly inside"
    return f"a file of another kind ({path.suffix or 'no suffix'})" if path.exists() else "nothing at this path"


class VolumeReader(ImageReader):
    """`read_volume` for MONAI: ``LoadImaged(keys, reader="medtl_monai.io.reader.VolumeReader")``.

    `get_data` gives (array, meta): array (I, J, K), or (C, I, J, K) for a list of C files on one grid; meta with
    ``affine`` and ``original_affine`` in RAS+ mm, ``spatial_shape``, ``space``, ``original_channel_dim``,
    ``filename_or_obj``, ``case``, and ``findings`` as one line of text. A PNG or JPEG picture gives (H, W), see
    `medtl_monai.io.picture.picture_data`.

    LoadImage tries its other readers whenever `read` raises, and they would read wrongly what was refused here;
    therefore `read` only keeps the names, and everything is read and refused in `get_data`.

    Args:
        kind: "image" or "label".
        affine: "auto", "sform" or "qform", see `read_nifti`.
        colour: "refuse" or "luminance", see `medtl_monai.io.picture.read_picture`.
    """

    def __init__(self, kind: Kind = "image", affine: AffineChoice = "auto", colour: Colour = "refuse") -> None:
        super().__init__()
        self.kind: Kind = kind
        self.affine: AffineChoice = affine
        self.colour: Colour = colour

    def verify_suffix(self, filename: Sequence[PathName] | PathName) -> bool:
        """Whether every name is a NIfTI file, a .dcm file, a folder or a picture."""
        names = [Path(name) for name in _as_list(filename)]
        return all(
            is_nifti_name(name) or name.suffix.lower() == ".dcm" or name.is_dir() or is_picture_name(name)
            for name in names
        )

    def read(self, data: Sequence[PathName] | PathName) -> list[Path]:  # type: ignore[override]
        """The paths to read; nothing is opened yet (see the class)."""
        return [Path(name) for name in _as_list(data)]

    def get_data(self, img: Sequence[Path]) -> tuple[NDArray[np.generic], dict[str, Any]]:
        """Read the files.

        Raises:
            FormatError, GeometryError, IntensityError, LabelError: as `read_volume`; also files of different grids.
        """
        if is_picture_name(img[0]) and not img[0].is_dir():
            require_no_label(self.kind, img[0])
            return picture_data(list(img), self.colour)
        volumes = [read_volume(path, kind=self.kind, affine=self.affine) for path in img]
        head = volumes[0]
        for path, volume in zip(img, volumes, strict=True):
            if not same_grid(head.affine, head.array.shape, volume.affine, volume.array.shape):
                raise GeometryError(
                    "channels lie on different grids",
                    case=head.case_id,
                    path=path,
                    expected=f"shape {head.array.shape}, affine {show(head.affine)}",
                    got=f"shape {volume.array.shape}, affine {show(volume.affine)}",
                    remedy="resample the images of one case to one grid",
                )
        arrays = [_for_torch(volume.array) for volume in volumes]
        several = len(arrays) > 1
        return (np.stack(arrays) if several else arrays[0]), _meta(volumes, img[0], several)


def _as_list(names: Sequence[PathName] | PathName) -> list[PathName]:
    return [names] if isinstance(names, str | PathLike) else list(names)


def _for_torch(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array.astype(TORCH_TYPES.get(array.dtype.name, array.dtype.name), copy=False)


def _meta(volumes: Sequence[Volume], path: Path, several: bool) -> dict[str, Any]:
    head = volumes[0]
    findings = [f"{finding.code}: {finding.message}" for volume in volumes for finding in volume.findings]
    return {
        "filename_or_obj": str(path),
        "affine": head.affine.copy(),
        "original_affine": head.affine.copy(),
        "spatial_shape": np.asarray(head.array.shape),
        "space": "RAS",
        "original_channel_dim": 0 if several else "no_channel",
        "case": head.case_id,
        "findings": " | ".join(findings),
    }
