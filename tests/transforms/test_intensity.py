"""Percentile scaling and z-scores against their numpy formulas and MONAI's transforms."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, NormalizeIntensity, ScaleIntensityRangePercentiles

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.intensity import clip_to_percentiles, unit_by_percentiles
from medtl_monai.transforms.preprocessing import intensity_transform, preprocessing


def volume(channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Log-normal values, as in MR; each further channel ten times brighter."""
    values = np.random.default_rng(seed).lognormal(4, 1, (channels, 9, 8, 7)).astype(np.float32)
    return torch.from_numpy(values * 10.0 ** np.arange(channels, dtype=np.float32).reshape(-1, 1, 1, 1))


def test_unit_by_its_formula() -> None:
    image = volume(2)
    before = image.clone()
    scaled = unit_by_percentiles(image).numpy()
    for channel, result in zip(image.numpy().astype(np.float64), scaled, strict=True):
        low, high = np.percentile(channel, [0.5, 99.5])
        assert np.abs(result - np.clip((channel - low) / (high - low), 0, 1)).max() < 1e-6
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert torch.equal(image, before)


def test_clip_by_its_formula() -> None:
    image = volume(2)
    before = image.clone()
    clipped = clip_to_percentiles(image).numpy()
    for channel, result in zip(image.numpy().astype(np.float64), clipped, strict=True):
        low, high = np.percentile(channel, [0.5, 99.5])
        assert np.abs(result - channel.clip(low, high)).max() <= 1e-6 * high
    assert torch.equal(image, before)


def test_unit_is_monais_where_that_is_defined() -> None:
    image = volume(2)
    theirs = ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True, channel_wise=True)(image)
    assert torch.allclose(unit_by_percentiles(image), torch.as_tensor(theirs), atol=1e-6)


def test_integers_are_scaled_by_true_percentiles() -> None:
    image = (volume() * 10).to(torch.int16)
    assert torch.equal(unit_by_percentiles(image), unit_by_percentiles(image.float()))


def sparse() -> MetaTensor:
    """One bright voxel in 504: both percentiles are 0."""
    image = torch.zeros(1, 9, 8, 7)
    image[0, 4, 4, 4] = 3000
    return MetaTensor(image, meta={"filename_or_obj": "lesion_012.nii.gz"})


@pytest.mark.parametrize("scale", [unit_by_percentiles, clip_to_percentiles])
def test_equal_percentiles_are_refused(scale: object) -> None:
    with pytest.raises(IntensityError, match=r"case lesion_012.nii.gz: .*got both 0, in a range of 0 to 3000; crop"):
        scale(sparse())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True)(sparse())
    assert theirs.max() == 3000, "MONAI warns, and gives values that are neither scaled nor clipped"


def test_zscore_by_its_formula() -> None:
    image = volume(2)
    result = intensity_transform("zscore", "image")({"image": image.clone()})["image"].numpy()
    for channel, scaled in zip(image.numpy().astype(np.float64), result, strict=True):
        assert np.abs(scaled - (channel - channel.mean()) / channel.std()).max() < 1e-5
    one = volume()
    ours = intensity_transform("zscore", "image")({"image": one.clone()})["image"]
    assert torch.allclose(ours, NormalizeIntensity()(one), atol=1e-6)


@pytest.mark.parametrize("name", ["zscore", "unit"])
def test_a_networks_intensity_and_the_preprocessing_of_that_name_agree(name: str) -> None:
    data = {"image": MetaTensor(volume()), "t2": MetaTensor(volume(seed=1)), "age": 61}
    single = intensity_transform(name, ["image", "t2"])
    one = pickle.loads(pickle.dumps(single))(dict(data, image=data["image"].clone(), t2=data["t2"].clone()))
    other = Compose(preprocessing(name, ["image", "t2"]))(data)
    assert torch.equal(one["image"], other["image"])
    assert torch.equal(one["t2"], other["t2"])
    assert other["age"] == 61


def test_unknown_names() -> None:
    with pytest.raises(
        ConfigError, match="unknown intensity; expected one of zscore, robust_zscore, unit, got z-score; did you mean"
    ):
        intensity_transform("z-score", "image")
