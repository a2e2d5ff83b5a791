"""Hippocampus MR crops: a linear model on frozen voxel features, trained on eight cases."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F

from medtl_monai.networks.encoder import Encoder
from medtl_monai.transfer.norm_statistics import reestimate_norm
from medtl_monai.transforms.intensity import unit_by_percentiles
from probes.dense import Grid, LinearModel, dice, fit_linear, sample_level, sample_voxels
from probes.networks import METHODS, SQUEEZENET, highres3dnet, published_state, random_squeezenet_state, squeezenet

CLASSES, TRAIN_CASES, VALIDATION_CASES, TEST_CASES, PER_CLASS = 3, 8, 6, 12, 200
TUNING_SEED, STATISTICS_CASES = 1000, 4
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
PRIORS = (0.0, 0.5, 1.0)  # argmax of calibrated scores is not what Dice rewards: all arms tune this
FULL: Grid = (0, 1)
# SqueezeNet does not pad: each layer's first centre lies further inside (7x7 stride 2, then three 3x3 pools stride 2).
SQUEEZENET_GRIDS: tuple[Grid, ...] = ((3, 2), (5, 4), (9, 8), (17, 16))
Levels = list[torch.Tensor]
Extract = Callable[[np.ndarray], Levels]


@dataclass(frozen=True)
class Scans:
    """The cases of the benchmark's split; images and labels are read when they are wanted."""

    folder: Path
    training: list[str]
    validation: list[str]
    test: list[str]

    def image(self, case: str) -> np.ndarray:
        """Intensities as stored, float32."""
        return np.asarray(nib.load(self.folder / "images" / f"{case}.nii.gz").dataobj, dtype=np.float32)

    def label(self, case: str) -> np.ndarray:
        """0 background, 1 anterior, 2 posterior."""
        return np.asarray(nib.load(self.folder / "labels" / f"{case}.nii.gz").dataobj).astype(np.int64)

    def draw(self, seed: int) -> list[str]:
        """The labelled cases of a seed."""
        return sorted(np.random.default_rng(seed).choice(self.training, TRAIN_CASES, replace=False).tolist())


def read_scans(folder: Path, datalist: Path) -> Scans:
    """The split of the datalist; of its test and validation cases a random selection that is always the same."""
    split = json.loads(datalist.read_text())
    names = {part: [entry["case"] for entry in split[part]] for part in ("training", "validation", "test")}
    chosen = {
        part: np.random.default_rng(0).permutation(sorted(names[part]))[:count].tolist()
        for part, count in (("validation", VALIDATION_CASES), ("test", TEST_CASES))
    }
    return Scans(folder, sorted(names["training"]), chosen["validation"], chosen["test"])


def unit(image: np.ndarray) -> torch.Tensor:
    """``(1, 1, X, Y, Z)`` in [0, 1] by percentiles."""
    return unit_by_percentiles(torch.from_numpy(image)[None])[None]


def zscored(image: np.ndarray) -> torch.Tensor:
    """``(1, 1, X, Y, Z)`` with mean 0 and variance 1."""
    return torch.from_numpy((image - image.mean()) / image.std())[None, None]


def patches(image: np.ndarray, width: int = 5) -> Levels:
    """One level: the z-scored intensities of the cube around each voxel, ``(width^3, X, Y, Z)``."""
    around = F.pad(zscored(image), (width // 2,) * 6, mode="replicate")[0, 0]
    cubes = around.unfold(0, width, 1).unfold(1, width, 1).unfold(2, width, 1)
    return [cubes.flatten(3).permute(3, 0, 1, 2).contiguous()]


def through(encoder: Encoder, prepare: Callable[[np.ndarray], torch.Tensor], bfloat16: bool) -> Extract:
    """The levels of an encoder for an image; kept in half precision to save memory."""

    def extract(image: np.ndarray) -> Levels:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return [level[0].to(torch.bfloat16 if bfloat16 else torch.float32) for level in encoder(prepare(image))]

    return extract


@dataclass
class Arm:
    """A way to features, and what has been computed of it.

    Attributes:
        extract: image -> levels.
        grids: place of each level on the image.
        fits: stored voxel samples by case.
        maps: stored levels by case, of the cases to be segmented.
    """

    extract: Extract
    grids: tuple[Grid, ...]
    fits: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, Levels] = field(default_factory=dict)

    def training_rows(self, scans: Scans, cases: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features and classes of the sampled voxels, and the true share of each class in these cases."""
        features, classes, counts = [], [], np.zeros(CLASSES)
        for case in cases:
            label = scans.label(case)
            voxels, values = sample_voxels(label, PER_CLASS, CLASSES, zlib.crc32(case.encode()))
            if case not in self.fits:
                levels = self.extract(scans.image(case))
                parts = [
                    sample_level(level.float(), voxels, grid) for level, grid in zip(levels, self.grids, strict=True)
                ]
                self.fits[case] = torch.cat(parts, dim=1).numpy()
            features.append(self.fits[case])
            classes.append(values)
            counts += np.bincount(label.ravel(), minlength=CLASSES)
        return np.concatenate(features), np.concatenate(classes), counts / counts.sum()

    def scores(self, scans: Scans, model: LinearModel, cases: list[str]) -> np.ndarray:
        """Dice of anterior and posterior: ``(cases, 2)``."""
        found = []
        for case in cases:
            if case not in self.maps:
                self.maps[case] = self.extract(scans.image(case))
            label = scans.label(case)
            mask = model.segment(self.maps[case], self.grids, label.shape)
            found.append([dice(mask, label, 1), dice(mask, label, 2)])
        return np.array(found)


def _squeezenet(method: str, seed: int | None) -> Arm:
    state = published_state(SQUEEZENET) if seed is None else random_squeezenet_state(seed)
    return Arm(through(squeezenet(state, method), unit, False), SQUEEZENET_GRIDS)


def _published_squeezenet(method: str, seed: int) -> Arm:
    return _squeezenet(method, None)


def _highres3dnet(seed: int | None, scans: Scans, renewed_from: list[str] | None) -> Arm:
    encoder = highres3dnet(seed)
    if renewed_from is not None:
        with torch.autocast("cpu", torch.bfloat16):
            reestimate_norm(encoder, (zscored(scans.image(case)) for case in renewed_from[:STATISTICS_CASES]))
    return Arm(through(encoder, zscored, True), (FULL,) * len(encoder.channels))


def arms(scans: Scans) -> dict[str, tuple[bool, Callable[[int], Arm]]]:
    """Arm -> whether it is the same for all seeds, and how to make it for a seed."""
    made: dict[str, tuple[bool, Callable[[int], Arm]]] = {
        "patches": (True, lambda seed: Arm(patches, (FULL,))),
        "highres3dnet/published": (True, lambda seed: _highres3dnet(None, scans, None)),
        "highres3dnet/published_renewed": (False, lambda seed: _highres3dnet(None, scans, scans.draw(seed))),
        "highres3dnet/random": (False, lambda seed: _highres3dnet(seed, scans, None)),
        "highres3dnet/random_renewed": (False, lambda seed: _highres3dnet(seed, scans, scans.draw(seed))),
    }
    for method in METHODS:
        made[f"squeezenet_{method}/published"] = (True, partial(_published_squeezenet, method))
        made[f"squeezenet_{method}/random"] = (False, partial(_squeezenet, method))
    return made


def tune(arm: Arm, scans: Scans) -> tuple[float, float]:
    """Strength and prior with the best mean Dice on the validation cases, for a draw that the comparison leaves out."""
    features, classes, shares = arm.training_rows(scans, scans.draw(TUNING_SEED))
    found = {}
    for strength in STRENGTHS:
        model = fit_linear(features, classes, shares, strength)
        for prior in PRIORS:
            found[strength, prior] = arm.scores(scans, model.with_prior(prior), scans.validation).mean()
    return max(found, key=lambda setting: found[setting])


def run(scans: Scans, seeds: int, highres_seeds: int) -> dict[str, dict]:
    """For each arm the tuned setting and the Dice ``(seeds, test cases, 2)``."""
    results: dict[str, dict] = {}
    for name, (fixed, make) in arms(scans).items():
        arm = make(TUNING_SEED)
        strength, prior = tune(arm, scans)
        found = []
        for seed in range(highres_seeds if name.startswith("highres") else seeds):
            arm = arm if fixed else make(seed)
            rows = arm.training_rows(scans, scans.draw(seed))
            found.append(arm.scores(scans, fit_linear(*rows, strength).with_prior(prior), scans.test))
        results[name] = {"C": strength, "prior": prior, "dice": np.stack(found)}
        print(f"hippocampus: {name} C={strength:g} {prior} Dice {np.stack(found).mean((0, 1)).round(3)}", flush=True)
    return results
