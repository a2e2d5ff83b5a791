"""The bias field: a known one is taken away; without one little changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medtl_monai.errors import IntensityError
from medtl_monai.transforms.bias_field import BiasFieldd, corrected


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Two shells of tissue in air, with noise."""
    grid = np.mgrid[0:48, 0:48, 0:40] - np.array([24, 24, 20]).reshape(3, 1, 1, 1)
    radius = np.sqrt((grid**2).sum(axis=0))
    values = 100.0 * (radius < 18) + 80.0 * (radius < 9)
    return values + (values > 0) * np.random.default_rng(0).normal(0, 3, values.shape)


def _spread(values: np.ndarray, tissue: np.ndarray) -> float:
    """Coefficient of variation within the outer tissue."""
    ring = values[(tissue > 60) & (tissue < 140)]
    return float(ring.std() / ring.mean())


def _scan(values: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values.astype(np.float32))[None], affine=torch.eye(4))


def test_a_known_field_is_taken_away(tissue: np.ndarray) -> None:
    slope = (np.arange(48) - 24).reshape(-1, 1, 1) / 24
    scan = _scan(tissue * np.exp(0.6 * slope))
    found = BiasFieldd("image", shrink=3)({"image": scan})["image"]
    before, after = _spread(scan[0].numpy(), tissue), _spread(found[0].numpy(), tissue)
    assert before > 0.15
    assert after < 0.4 * before
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, scan.affine)


def test_without_a_field_little_changes(tissue: np.ndarray) -> None:
    scan = _scan(tissue)
    found = corrected(scan, shrink=3)
    assert _spread(found[0].numpy(), tissue) < 1.3 * _spread(tissue, tissue)
    assert bool(((found == 0) == (scan == 0)).all())


def test_refusals() -> None:
    with pytest.raises(IntensityError, match="no MR volume"):
        corrected(torch.zeros(1, 16, 16, 16))
    with pytest.raises(IntensityError, match="2 channels"):
        corrected(torch.ones(2, 16, 16, 16))
