"""Stem weights for other channel numbers, against the formula on images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.weights.stem import IMAGENET_MEAN, IMAGENET_STD, fold_normalisation, sum_channels

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def column(values: tuple[float, ...], dims: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, -1, *[1] * dims)


def published_response(rgb: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What the published stem gives for an RGB image in [0, 1]: normalise, pad with zeros, convolve."""
    dims = weight.dim() - 2
    return CONVOLUTIONS[dims](
        (rgb - column(IMAGENET_MEAN, dims)) / column(IMAGENET_STD, dims), weight, stride=2, padding=3
    )


def with_ones(image: torch.Tensor) -> torch.Tensor:
    return torch.cat([image, torch.ones_like(image[:, :1])], dim=1)


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(11), dtype=torch.float64)


def test_the_constants_are_imagenets() -> None:
    assert (IMAGENET_MEAN, IMAGENET_STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_folding_is_exact_up_to_the_border(dims: int, channels: int) -> None:
    weight, image = random(4, 3, *[7] * dims) - 0.5, random(2, channels, *(9, 10, 11)[:dims])
    rgb = image if channels == 3 else image.mean(dim=1, keepdim=True).expand(-1, 3, *[-1] * dims)
    folded = fold_normalisation(weight, channels)
    assert folded.shape == (4, channels + 1, *[7] * dims)
    own = CONVOLUTIONS[dims](with_ones(image), folded, stride=2, padding=3)
    torch.testing.assert_close(own, published_response(rgb, weight), rtol=0, atol=1e-12)


def test_the_formula_of_one_channel() -> None:
    weight = random(4, 3, 7, 7)
    folded = fold_normalisation(weight, 1)
    for out in range(4):
        wanted = sum(weight[out, c] / IMAGENET_STD[c] for c in range(3))
        shift = -sum(weight[out, c] * IMAGENET_MEAN[c] / IMAGENET_STD[c] for c in range(3))
        torch.testing.assert_close(folded[out], torch.stack([wanted, shift]))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_sum_answers_a_grey_image_as_before(channels: int) -> None:
    weight, grey = random(4, 3, 7, 7) - 0.5, random(2, 1, 9, 10)
    own = F.conv2d(grey.expand(-1, channels, -1, -1), sum_channels(weight, channels), padding=3)
    torch.testing.assert_close(own, F.conv2d(grey.expand(-1, 3, -1, -1), weight, padding=3), rtol=0, atol=1e-12)


def test_the_type_stays_and_the_rounding_is_that_of_the_result() -> None:
    weight = random(4, 3, 7, 7) - 0.5
    for change in (lambda w: fold_normalisation(w, 1), lambda w: sum_channels(w, 1)):
        single = change(weight.float())
        assert single.dtype == torch.float32
        assert torch.equal(single, change(weight.float().double()).float())


Change = Callable[[torch.Tensor, int], torch.Tensor]


@pytest.mark.parametrize("change", [fold_normalisation, sum_channels])
def test_what_is_no_rgb_stem_is_refused(change: Change) -> None:
    with pytest.raises(WeightsError, match=r"expected shape \(out, 3, \.\.\.\), got shape \(4, 1, 7, 7\); give"):
        change(random(4, 1, 7, 7), 1)
    with pytest.raises(WeightsError, match=r"got shape \(4, 3\)"):
        change(random(4, 3), 1)


@pytest.mark.parametrize("change", [fold_normalisation, sum_channels])
@pytest.mark.parametrize("channels", [0, -2])
def test_an_image_without_channels_is_refused(change: Change, channels: int) -> None:
    with pytest.raises(ConfigError, match=f"expected in_channels >= 1, got {channels}"):
        change(random(4, 3, 7, 7), channels)
