"""The head CT slices, which of them belong together, and folds that keep those together."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

FOLDS = 5
NEAR_DUPLICATE = 0.95  # correlation of two slices; heads that are not known to be related stay below
# The labels name no patients. Slices were put together by eye: near-identical ones, neighbours of one stack, lettered
# panels of one figure, one head with and without its bleeding. In doubt they are together; one person may well be in
# two groups all the same.
RELATED = (
    "004 005 057 058",
    "006 100 101",
    "009 010 065 066",
    "013 014",
    "015 016",
    "018 019",
    "031 032",
    "033 034 035 036 037 038 040",
    "041 042",
    "046 047",
    "052 053",
    "059 060",
    "077 078",
    "079 080",
    "082 084",
    "085 086",
    "087 089 102",
    "104 184 185 187",
    "110 111",
    "116 117 118 119 120 122 123 124 125 126 127",
    "134 135 136 137",
    "140 141 142 143",
    "145 146 147 149 150",
    "151 152",
    "153 154 155 156 157 158 160",
    "164 165 166 167 168 169 170 171 173 175 177",
    "198 199",
)
Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Slices:
    """All slices: file names, labels (1 haemorrhage), group numbers, and grey images in [0, 1]."""

    names: list[str]
    labels: np.ndarray
    groups: np.ndarray
    images: list[Image.Image]

    def resized(self, size: int) -> np.ndarray:
        """All slices at ``(size, size)``, bilinear with antialiasing, aspect ratio given up: ``(N, size, size)``."""
        scaled = [image.resize((size, size), Image.Resampling.BILINEAR) for image in self.images]
        return np.stack([np.asarray(image, dtype=np.float32) / 255 for image in scaled])


def read_slices(folder: Path) -> Slices:
    """Read ``labels.csv`` and the PNG files; coloured marks and opaque alpha channels become grey."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [row["id"] for row in rows]
    images = [Image.open(folder / "images" / f"{name}.png").convert("RGB").convert("L") for name in names]
    return Slices(names, np.array([int(row["hemorrhage"]) for row in rows]), group_numbers(names), images)


def group_numbers(names: list[str]) -> np.ndarray:
    """Group number of each slice; slices in no line of :data:`RELATED` are alone."""
    first = {name: line.split()[0] for line in RELATED for name in line.split()}
    return np.unique([first.get(name, name) for name in names], return_inverse=True)[1]


def _head(image: Image.Image, size: int = 64, air: int = 30, share: float = 0.03) -> np.ndarray:
    grey = np.asarray(image)
    rows = np.flatnonzero((grey > air).mean(axis=1) > share)
    columns = np.flatnonzero((grey > air).mean(axis=0) > share)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR), dtype=float).ravel()


def near_duplicates(images: list[Image.Image], threshold: float = NEAR_DUPLICATE) -> list[tuple[int, int, float]]:
    """Pairs of slices that correlate at least at ``threshold``: as stored, or with each head cropped to itself.

    All are brought to one size first. A correlation is the larger of the two.
    """
    whole = [np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR), dtype=float).ravel() for image in images]
    heads = [_head(image) for image in images]
    correlations = np.maximum(np.corrcoef(np.stack(whole)), np.corrcoef(np.stack(heads)))
    pairs = combinations(range(len(images)), 2)
    return [(i, j, float(correlations[i, j])) for i, j in pairs if correlations[i, j] >= threshold]


def outer_folds(slices: Slices, seed: int, grouped: bool) -> list[Split]:
    """Five stratified (train, test) splits of the slices, related slices kept together where ``grouped``."""
    if grouped:
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        return list(splitter.split(slices.labels, slices.labels, slices.groups))
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(slices.labels, slices.labels))
