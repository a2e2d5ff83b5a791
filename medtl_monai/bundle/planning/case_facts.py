"""What one case is: grid, values, and the objects in its label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medtl_monai.bundle.planning.found import FoundCase
from medtl_monai.bundle.planning.label_facts import LabelFacts, label_facts
from medtl_monai.data.checks import read_case
from medtl_monai.errors import DataError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom import read_dicom_file, read_dicom_series
from medtl_monai.io.nifti import is_nifti_name, read_nifti
from medtl_monai.io.picture import is_picture_name, read_picture
from medtl_monai.io.volume import Volume

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
MOST_VOXELS = 1_000_000  # per percentile: drawn with a fixed seed where there are more
BODY_HU = -500.0  # between air (-1000) and fat (-100)


@dataclass(frozen=True)
class CaseFacts:
    """One case, read.

    Attributes:
        case, patient: names.
        picture: whether it is a PNG or JPEG, which knows no voxel size.
        shape: voxels along right, anterior, superior (the nearest axes); of a picture (rows, columns).
        spacing: voxel size in mm along the same axes; None for a picture.
        orientation: directions of the axes as stored, such as ``"LPS"``; empty for a picture.
        dtype: type of the voxels in memory, such as ``"int16"``.
        modality: the DICOM Modality; empty where the file does not say it.
        coloured: whether a picture has colour.
        low, high: extreme values.
        percentiles: of all voxels, by `PERCENTILES`.
        zeros: share of the voxels that are exactly 0.
        hu_like: whether the values look like HU (see `looks_like_hu`).
        foreground: percentiles of the labelled voxels; without a label of the body: above `BODY_HU` where the values
            look like HU, else above the mean of the image. Empty if there are none.
        foreground_mean, foreground_std: of the same voxels.
        labels: what the label holds, by value, background left out (segmentation).
        label: number of the class (classification), else None.
        two_valued: whether the image holds 0 and one larger value alone, as a binary mask does.
    """

    case: str
    patient: str
    picture: bool
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    orientation: str
    dtype: str
    modality: str
    coloured: bool
    low: float
    high: float
    percentiles: dict[float, float]
    zeros: float
    hu_like: bool
    foreground: dict[float, float] = field(default_factory=dict)
    foreground_mean: float = 0.0
    foreground_std: float = 0.0
    labels: dict[int, LabelFacts] = field(default_factory=dict)
    label: int | None = None
    two_valued: bool = False

    @property
    def flat(self) -> bool:
        """Whether it is a picture or a single slice."""
        return len(self.shape) == 2 or 1 in self.shape

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **asdict(self),
            "percentiles": {f"{key:g}": value for key, value in self.percentiles.items()},
            "foreground": {f"{key:g}": value for key, value in self.foreground.items()},
            "labels": {str(value): asdict(facts) for value, facts in self.labels.items()},
        }


def read_facts(root: Path, case: FoundCase, label_values: Iterable[int]) -> tuple[CaseFacts | None, list[Finding]]:
    """Read one case; the facts are None where it has errors, and the findings say which.

    Args:
        root: the dataset folder.
        case: the case; its label is a path for segmentation, a class number for classification.
        label_values: the values that a label map may hold.
    """
    if isinstance(case.label, int):
        return _classified(root / case.image, case)
    paths = {"case": case.case, "image": str(root / case.image), "label": str(root / case.label)}
    image, label, findings = read_case(paths, label_values)
    if image is None or label is None or any(finding.severity == "error" for finding in findings):
        return None, findings
    masks = _aligned(label, image)
    voxel_ml = float(np.prod(image.spacing)) / 1000
    facts = _facts(case, image.array, image, mask=masks > 0, labels=label_facts(masks, voxel_ml))
    return facts, findings


def _classified(path: Path, case: FoundCase) -> tuple[CaseFacts | None, list[Finding]]:
    try:
        if is_picture_name(path) and not path.is_dir():
            picture = read_picture(path, case_id=case.case, colour="luminance")
            coloured = any(f.code == "picture.colour" and f.severity == "warning" for f in picture.findings)
            return _facts(case, picture.array, None, coloured=coloured), list(picture.findings)
        volume = _scan(path, case.case)
    except DataError as error:
        values = [f"{word} {value}" for word, value in (("expected", error.expected), ("got", error.got)) if value]
        message = f"{path.name}: {'; '.join([error.problem, *values])}"
        return None, [Finding("image.unreadable", "error", message, error.remedy or "", case.case)]
    return _facts(case, volume.array, volume), list(volume.findings)


def _scan(path: Path, case: str) -> Volume:
    if path.is_dir():
        return read_dicom_series(path, case_id=case)
    return read_nifti(path, case_id=case) if is_nifti_name(path) else read_dicom_file(path, case_id=case)


def _aligned(label: Volume, image: Volume) -> NDArray[Any]:
    """The label's voxels along the image's axes (those of a DICOM series may run otherwise, see `check_case`)."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(label.affine), nib.orientations.io_orientation(image.affine)
    )
    return nib.orientations.apply_orientation(label.array, turn)


def _facts(
    case: FoundCase,
    array: NDArray[Any],
    volume: Volume | None,
    *,
    coloured: bool = False,
    mask: NDArray[np.bool_] | None = None,
    labels: dict[int, LabelFacts] | None = None,
) -> CaseFacts:
    percentiles = _percentiles(array)
    hu_like = volume is not None and looks_like_hu(array, percentiles)
    inside = array[mask] if mask is not None else array[array > (BODY_HU if hu_like else float(array.mean()))]
    shape, spacing, orientation = _grid(volume) if volume is not None else (array.shape, None, "")
    return CaseFacts(
        case=case.case,
        patient=case.patient,
        picture=volume is None,
        shape=shape,
        spacing=spacing,
        orientation=orientation,
        dtype=str(array.dtype),
        modality=(volume.modality or "") if volume is not None else "",
        coloured=coloured,
        low=float(array.min()),
        high=float(array.max()),
        percentiles=percentiles,
        zeros=float((array == 0).mean()),
        hu_like=hu_like,
        foreground=_percentiles(inside) if inside.size else {},
        foreground_mean=float(inside.mean(dtype=np.float64)) if inside.size else 0.0,
        foreground_std=float(inside.std(dtype=np.float64)) if inside.size else 0.0,
        labels=labels or {},
        label=case.label if isinstance(case.label, int) else None,
        two_valued=is_two_valued(array),
    )


def _percentiles(array: NDArray[Any]) -> dict[float, float]:
    flat = array.ravel(order="K")
    if flat.size > MOST_VOXELS:
        flat = flat[np.random.default_rng(0).integers(0, flat.size, MOST_VOXELS)]
    return {key: float(value) for key, value in zip(PERCENTILES, np.percentile(flat, PERCENTILES), strict=True)}


def is_two_valued(array: NDArray[Any]) -> bool:
    """Whether an array holds 0 and one larger value, and nothing else."""
    high = array.max()
    return bool(high > 0 and array.min() == 0 and ((array == 0) | (array == high)).all())


def looks_like_hu(array: NDArray[Any], percentiles: dict[float, float]) -> bool:
    """Whether values can be HU of a whole CT: air below -200, nothing far beyond metal, half of it air or soft tissue.

    Below -200 there is only air and lung (fat is at -100); 12-bit scanners end at 3071 and fill corners with -1024 to
    -3024. MR has no such range: its values have no unit and are rarely negative.
    """
    if percentiles[0.5] > -200 or percentiles[0.5] < -4096 or percentiles[99.5] > 4096:
        return False
    return float(((array >= -1100) & (array <= 300)).mean()) >= 0.5


def _grid(volume: Volume) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    """Shape and spacing along right, anterior, superior, and the stored directions."""
    turn = nib.orientations.io_orientation(volume.affine)
    shape, spacing = [0, 0, 0], [0.0, 0.0, 0.0]
    for axis in range(3):
        shape[int(turn[axis, 0])] = int(volume.array.shape[axis])
        spacing[int(turn[axis, 0])] = float(volume.spacing[axis])
    return tuple(shape), tuple(spacing), "".join(nib.orientations.ornt2axcodes(turn))
