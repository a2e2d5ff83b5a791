"""Small labelled data as users lay them out, and `medtl new` on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medtl_monai.cli import main

SHAPE = (28, 24, 18)


def save(path: Path, array: np.ndarray, spacing: Sequence[float] = (2, 2, 3)) -> None:
    """A NIfTI file with LPS axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = nib.Nifti1Image(array, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    file.header.set_xyzt_units("mm")
    nib.save(file, path)


def ct_with_organs(root: Path, cases: int = 4) -> Path:
    """``images/`` and ``labels/``: air, tissue at 40 HU, a block of value 5 at 120 HU and one of value 9 at -80 HU."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        image = np.full(SHAPE, -1000.0)
        image[3:-3, 3:-3] = 40
        label = np.zeros(SHAPE, np.uint8)
        first = 6 + number % 2
        label[first : first + 8, 6:14, 4:12] = 5
        label[18:22, 12:18, 4:10] = 9
        image[label == 5], image[label == 9] = 120, -80
        image += rng.normal(0, 8, SHAPE)
        save(root / "images" / f"case_{number}.nii.gz", image.astype(np.int16))
        save(root / "labels" / f"case_{number}.nii.gz", label)
    return root


def pictures(root: Path, classes: Sequence[str] = ("dark", "light"), cases: int = 5) -> Path:
    """A folder per class with PNG files; the classes differ in brightness."""
    for level, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(cases):
            rng = np.random.default_rng(100 * level + number)
            grey = np.clip(rng.normal(60 + 110 * level, 25, (40, 48)), 0, 255)
            Image.fromarray(grey.astype(np.uint8)).save(root / name / f"{name}_{number}.png")
    return root


def volumes(root: Path, *, masks: bool, cases: int = 4) -> Path:
    """``small/`` and ``large/`` with NIfTI volumes of a ball: MR-like values, or 0 and 1."""
    grid = np.mgrid[:20, :22, :18] - 10
    for radius, name in ((4, "small"), (7, "large")):
        for number in range(cases):
            ball = (grid**2).sum(axis=0) < (radius + number % 2) ** 2
            rng = np.random.default_rng(number)
            image = ball.astype(np.uint8) if masks else (300 * ball + rng.uniform(50, 99, ball.shape)).astype(np.int16)
            save(root / name / f"{name}_{number}.nii.gz", image)
    return root


def new(name: str, data: Path, output: Path, *options: str) -> int:
    """``medtl new`` in this process; the task is that of the name."""
    task = "classification" if "classification" in name else "segmentation"
    words = ["new", name, "--data", str(data), "--task", task, "--output", str(output), "--memory-gb", "2"]
    return main([*words, *options])
