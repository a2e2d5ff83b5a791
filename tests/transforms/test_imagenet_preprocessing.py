"""ImageNet's normalisation with values by hand and torchvision beside it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torchvision.transforms.functional import normalize

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.imagenet import imagenet, normalise_as_imagenet

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("size", [(5, 4), (5, 4, 3)])
def test_normalisation_is_torchvisions(size: tuple[int, ...]) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    before = image.clone()
    expected = normalize(image.reshape(3, -1, 1), MEAN, SD).reshape(image.shape)
    assert torch.allclose(normalise_as_imagenet(image), expected, atol=1e-6)
    assert torch.equal(image, before)


def test_from_a_raw_mr_image() -> None:
    image = np.random.default_rng(0).lognormal(4, 1, (1, 8, 8, 8))
    out = Compose(imagenet("mr"))({"mr": MetaTensor(torch.from_numpy(image))})["mr"].numpy()
    low, high = np.percentile(image, [0.5, 99.5])
    unit = np.clip((image[0] - low) / (high - low), 0, 1)
    for channel, mean, sd in zip(out, MEAN, SD, strict=True):
        assert np.abs(channel - (unit - mean) / sd).max() < 1e-4


def test_from_a_ct_by_one_window_and_by_three() -> None:
    image = torch.tensor([-1000.0, 40.0]).reshape(1, 2, 1, 1)
    one = Compose(imagenet("ct", "brain"))({"ct": MetaTensor(image)})["ct"]
    assert one[:, 0, 0, 0].tolist() == pytest.approx([-m / s for m, s in zip(MEAN, SD, strict=True)], abs=1e-5)
    assert one[:, 1, 0, 0].tolist() == pytest.approx([(0.5 - m) / s for m, s in zip(MEAN, SD, strict=True)], abs=1e-5)
    three = Compose(imagenet("ct", ("brain", "subdural", "bone")))({"ct": MetaTensor(image)})["ct"]
    units = (40 / 80, 60 / 200, 490 / 1500)
    expected = [(unit - m) / s for unit, m, s in zip(units, MEAN, SD, strict=True)]
    assert three[:, 1, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (torch.rand(1, 4, 4), "1 channels from 0"),
        (255 * torch.rand(3, 4, 4), "3 channels from"),
        (torch.linspace(-2, 4, 48).reshape(3, 4, 4), "3 channels from -2 to 4"),
    ],
)
def test_what_is_not_rgb_in_unit_range_is_refused(image: torch.Tensor, got: str) -> None:
    with pytest.raises(IntensityError, match=f"expected 3 channels in .0, 1., got {got}"):
        normalise_as_imagenet(image)


def test_two_windows_do_not_make_three_channels() -> None:
    chain = Compose(imagenet("ct", ("brain", "bone")))
    with pytest.raises(RuntimeError) as caught:
        chain({"ct": MetaTensor(torch.tensor([-1000.0, 40.0]).reshape(1, 2, 1, 1))})
    assert "got 2 channels" in str(caught.value.__cause__)


def test_unknown_window_and_pickling() -> None:
    with pytest.raises(ConfigError, match="did you mean 'brain'"):
        imagenet("ct", "brian")
    data = {"ct": MetaTensor(torch.tensor([-1000.0, 40.0]).reshape(1, 2, 1, 1))}
    chain = Compose(imagenet(["ct"], "brain"))
    assert torch.equal(pickle.loads(pickle.dumps(chain))(data)["ct"], chain(data)["ct"])
