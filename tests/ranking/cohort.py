"""Data sets with known truth, and networks that know it, do not, or fail."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from medtl_monai.networks.encoder import Encoder
from medtl_monai.ranking.target import Target, TargetCase

SIDE = 16
PATTERN = np.random.default_rng(99).choice([-1.0, 1.0], (SIDE, SIDE, SIDE))


def write_volumes(folder: Path, patients: int, strength: float, seed: int = 0) -> list[TargetCase]:
    """Noise volumes of 16^3 voxels; those of class 1 (every second) hold a weak, fixed pattern."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for number in range(patients):
        value = number % 2
        volume = rng.normal(size=PATTERN.shape) + strength * value * PATTERN
        path = folder / f"p{number:02d}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.eye(4)), path)
        cases.append(TargetCase(f"p{number:02d}", f"p{number:02d}", str(path), value))
    return cases


def classification(cases: list[TargetCase]) -> Target:
    return Target("classification", tuple(cases), {0: "plain", 1: "pattern"}, 3, 1)


def write_segmentation(folder: Path, patients: int, affine: np.ndarray | None = None) -> None:
    """A dataset folder: bright boxes (label 1) and dark boxes (label 2) in noise, with a datalist."""
    rng = np.random.default_rng(5)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rows = []
    for number in range(patients):
        label = np.zeros((20, 18, 16), dtype=np.uint8)
        corner = rng.integers(2, 6, 3)
        label[tuple(slice(start, start + 5) for start in corner)] = 1
        label[tuple(slice(start + 5, start + 9) for start in corner)] = 2
        image = rng.normal(size=label.shape) + 3.0 * (label == 1) - 3.0 * (label == 2)
        name = f"s{number:02d}.nii.gz"
        grid = np.eye(4) if affine is None else affine
        nib.save(nib.Nifti1Image(image.astype(np.float32), grid), folder / "images" / name)
        nib.save(nib.Nifti1Image(label, grid), folder / "labels" / name)
        rows.append({"case": f"s{number:02d}", "image": f"images/{name}", "label": f"labels/{name}"})
    content = {
        "format": "medtl-datalist/1",
        "labels": {"0": "background", "1": "bright", "2": "dark"},
        "seed": 0,
        "training": rows,
        "validation": [],
        "test": [],
    }
    (folder / "datalist.json").write_text(json.dumps(content))


class Knowing(Encoder):
    """Its one feature map is the correlation with the pattern, beside noise-like ones."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture, self.spatial_dims, self.in_channels = "unet", 3, 1
        self.layer = nn.Conv3d(1, 4, SIDE, bias=False)
        self.channels, self.strides = (4,), ((1, 1, 1),)
        self.stages = {"layer": ("layer",)}
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            self.layer.weight.copy_(torch.randn(self.layer.weight.shape, generator=generator))
            self.layer.weight[0, 0] = torch.from_numpy(PATTERN).float()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [self.layer(image)]


class Constant(Knowing):
    """The same features for every image."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.ones(len(image), 4, 1, 1, 1)]


class NotANumber(Knowing):
    """NaN for the images whose first voxel is positive."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = self.layer(image)
        return [features * float("nan") if float(image[0, 0, 0, 0, 0]) > 0 else features]


class TooSmall(Knowing):
    """Needs larger images: torch itself raises."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [nn.functional.conv3d(image, torch.zeros(4, 1, 99, 99, 99))]
