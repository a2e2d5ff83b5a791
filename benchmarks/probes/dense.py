"""A linear model on the features of voxels, whatever the resolution of the levels they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

Grid = tuple[int, int]  # (input voxel under the first feature voxel, input voxels per feature voxel), of a level


def sample_level(level: torch.Tensor, voxels: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Features ``(n, C)`` of one level ``(C, h, w, d)`` at voxels ``(n, 3)`` of the image, linearly interpolated.

    Outside the centres of the outermost feature voxels the nearest one counts.
    """
    offset, stride = grid
    last = torch.tensor(level.shape[1:]) - 1
    place = (voxels.float() - offset) / stride
    place = torch.where(last > 0, 2 * place / last.clamp(min=1) - 1, torch.zeros(()))
    points = place.flip(-1)[None, :, None, None, :]  # grid_sample counts the axes from the last one
    found = F.grid_sample(level[None], points, mode="bilinear", padding_mode="border", align_corners=True)
    return found[0, :, :, 0, 0].T


def all_voxels(shape: Sequence[int]) -> torch.Tensor:
    """Indices ``(n, 3)`` of all voxels of a volume, in the order of its memory."""
    return torch.cartesian_prod(*(torch.arange(length) for length in shape))


def sample_voxels(label: np.ndarray, per_class: int, classes: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Indices ``(n, 3)`` and classes of up to ``per_class`` voxels of each class."""
    rng = np.random.default_rng(seed)
    parts = []
    for value in range(classes):
        where = np.argwhere(label == value)
        parts.append(where[rng.choice(len(where), min(per_class, len(where)), replace=False)])
    voxels = np.concatenate(parts)
    return torch.from_numpy(voxels), label[tuple(voxels.T)]


@dataclass(frozen=True)
class LinearModel:
    """Class scores ``features @ weight.T + bias`` of unscaled features.

    Attributes:
        weight: ``(classes, C)``.
        bias: for classes that are equally frequent in truth.
        log_shares: logarithm of the true share of each class; adding it gives calibrated scores, which is exact for
            logistic regression on a sample stratified by class.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    log_shares: torch.Tensor

    def with_prior(self, exponent: float) -> LinearModel:
        """The model that takes the true shares into account wholly (1), not at all (0) or in between."""
        return replace(self, bias=self.bias + exponent * self.log_shares)

    def segment(self, levels: Sequence[torch.Tensor], grids: Sequence[Grid], shape: Sequence[int]) -> np.ndarray:
        """The class of every voxel. Scores are computed at each level's own resolution and then interpolated.

        Both steps are linear, so this is the model applied to interpolated features.
        """
        voxels = all_voxels(shape)
        scores = self.bias.repeat(len(voxels), 1)
        widths = [level.shape[0] for level in levels]
        for level, grid, weight in zip(levels, grids, self.weight.split(widths, dim=1), strict=True):
            small = torch.einsum("kc,chwd->khwd", weight, level.float())
            scores += sample_level(small, voxels, grid)
        return scores.argmax(1).numpy().reshape(tuple(shape))


def fit_linear(features: np.ndarray, classes: np.ndarray, shares: np.ndarray, strength: float) -> LinearModel:
    """Standardisation and multinomial logistic regression with L2 penalty ``1 / strength``.

    Args:
        features: ``(n, C)``.
        classes: class of each row, from a sample that need not have the classes in their true proportions.
        shares: true share of each class.
        strength: scikit-learn's ``C``.
    """
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
    model.fit((features - mean) / deviation, classes)
    weight = model.coef_ / deviation
    sampled = np.bincount(classes, minlength=len(shares)) / len(classes)
    bias = model.intercept_ - weight @ mean - np.log(sampled)
    return LinearModel(*(torch.from_numpy(values).float() for values in (weight, bias, np.log(shares))))


def dice(found: np.ndarray, truth: np.ndarray, value: int) -> float:
    """Dice coefficient of one class that is present in ``truth``."""
    both = np.count_nonzero((found == value) & (truth == value))
    return float(2 * both / (np.count_nonzero(found == value) + np.count_nonzero(truth == value)))
