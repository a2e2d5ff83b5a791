"""Masks as input of networks that expect intensities."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.masks import mask_intensity_for
from medtl_monai.transforms.network_input import intensity_for


def network(intensity: str) -> nn.Module:
    made = nn.Identity()
    made.intensity = intensity  # type: ignore[assignment]
    return made


def small_mask() -> torch.Tensor:
    mask = torch.zeros(1, 20, 20, 20)
    mask[0, 3:5, 3:5, 3:5] = 255  # 0.1 % of the volume
    return mask


def test_unit_networks_get_zero_and_one_also_for_small_objects() -> None:
    image = mask_intensity_for(network("unit"), "image")({"image": small_mask()})["image"]
    assert (image == (small_mask() > 0)).all()
    with pytest.raises(IntensityError):  # why images and masks go different ways
        intensity_for(network("unit"), "image")({"image": small_mask()})


@pytest.mark.parametrize("intensity", ["zscore", "robust_zscore"])
def test_zscore_networks_get_mean_0_and_variance_1(intensity: str) -> None:
    image = mask_intensity_for(network(intensity), "image")({"image": small_mask()})["image"]
    assert image.mean() == pytest.approx(0, abs=1e-5)
    assert image.std(correction=0) == pytest.approx(1, abs=1e-4)
    assert len(torch.unique(image)) == 2


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0], [0.0, 0.5, 1.0], [-1.0, 0.0], [1.0, 2.0]])
def test_no_mask(values: list[float]) -> None:
    with pytest.raises(IntensityError, match="not a mask"):
        mask_intensity_for(network("unit"), "image")({"image": torch.tensor([[values]])})


def test_an_unknown_intensity() -> None:
    with pytest.raises(ConfigError):
        mask_intensity_for(network("hounsfield"), "image")
