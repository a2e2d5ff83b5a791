"""Small data sets with known truth, as users lay them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medtl_monai.bundle.planning.case_facts import PERCENTILES, CaseFacts
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.label_facts import LabelFacts
from medtl_monai.bundle.planning.source_facts import SourceFacts


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | Sequence[float] = (1, 1, 1)) -> None:
    """A NIfTI file with an affine, or with the voxel size in mm along RAS axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = np.asarray(affine, dtype=float)
    file = nib.Nifti1Image(array, np.diag([*matrix, 1]) if matrix.ndim == 1 else matrix)
    file.header.set_xyzt_units("mm")
    nib.save(file, path)


def ct_array(seed: int, shape: tuple[int, int, int] = (20, 24, 16)) -> np.ndarray:
    """Soft tissue around 40 HU with a border of air at -1000 HU, int16."""
    rng = np.random.default_rng(seed)
    array = np.full(shape, -1000.0)
    array[3:-3, 3:-3, :] = 40
    return (array + rng.normal(0, 10, shape)).astype(np.int16)


def mr_array(seed: int, shape: tuple[int, int, int] = (20, 24, 16)) -> np.ndarray:
    """Positive values without a unit, int16."""
    return np.random.default_rng(seed).integers(50, 900, shape).astype(np.int16)


def cube(shape: tuple[int, ...] = (20, 24, 16), value: int = 1) -> np.ndarray:
    """A label with a 4 x 4 x 4 cube of one value."""
    label = np.zeros(shape, np.uint8)
    label[8:12, 8:12, 4:8] = value
    return label


def mask_folder(
    root: Path,
    images: Sequence[np.ndarray],
    spacing: Sequence[float] = (1, 1, 1),
    folders: tuple[str, str] = ("images", "labels"),
) -> Path:
    """``images/case_N.nii.gz`` with ``labels/case_N.nii.gz``, a cube of value 1 in each."""
    for number, array in enumerate(images):
        save_nifti(root / folders[0] / f"case_{number}.nii.gz", array, spacing)
        save_nifti(root / folders[1] / f"case_{number}.nii.gz", cube(array.shape), spacing)
    return root


def save_picture(path: Path, seed: int, size: tuple[int, int] = (30, 40), *, coloured: bool = False) -> None:
    """A grey or coloured picture of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*size, 3) if coloured else size, dtype=np.uint8)).save(path)


def facts(case: str, shape: tuple[int, ...] = (64, 64, 64), **changes: object) -> CaseFacts:
    """Facts of an MR-like case with one label, changed as wanted."""
    values = {key: key * 10 for key in PERCENTILES}
    row: dict[str, object] = {
        "case": case, "patient": case, "picture": False, "shape": shape, "spacing": (1.0, 1.0, 1.0),
        "orientation": "RAS", "dtype": "int16", "modality": "", "coloured": False, "low": 0.0, "high": 1000.0,
        "percentiles": values, "zeros": 0.0, "hu_like": False, "foreground": values, "foreground_mean": 500.0,
        "foreground_std": 100.0, "labels": {1: LabelFacts(1000, 1.0, 1, 1.0, 1.0)}, "label": None,
    }  # fmt: skip
    return CaseFacts(**{**row, **changes})  # type: ignore[arg-type]


def fingerprint(read: Sequence[CaseFacts], *, total: int | None = None, **changes: object) -> Fingerprint:
    """A fingerprint of these cases; ``total`` says how many there are in all."""
    count = len(read) if total is None else total
    row: dict[str, object] = {
        "task": "segmentation", "layout": "images/ with labels/", "names": {0: "background", 1: "object"},
        "cases": count, "patients": count, "class_cases": {}, "class_patients": {}, "splits": {}, "read": tuple(read),
        "findings": (),
    }  # fmt: skip
    return Fingerprint(**{**row, **changes})  # type: ignore[arg-type]


def source(name: str, dims: int, data: str, networks: dict[int, str], **changes: object) -> SourceFacts:
    """Facts of a source that is on this machine, changed as wanted."""
    row: dict[str, object] = {"parameters": 1000, "licence": "MIT", "commercial": True, "local": True}
    return SourceFacts(name, dims, data, networks=networks, **{**row, **changes})  # type: ignore[arg-type]
