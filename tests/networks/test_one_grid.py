"""The maps of all levels lie on one grid: a shifted image gives a shifted mask, whatever the size of the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medtl_monai.networks.encoder import margins
from medtl_monai.networks.encoders import ENCODERS_2D, build_encoder
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.padding import add_margin


@pytest.mark.parametrize("name", [*ENCODERS_2D, "squeezenet1_0_i3d", "resnet18_i3d", "medicalnet_resnet10"])
def test_every_level_has_the_length_divided_by_its_stride(name: str) -> None:
    encoder = build_encoder(name, 1).eval()
    size = [2 * stride if stride > 1 else 3 for stride in encoder.strides[-1]]
    with torch.no_grad():
        levels = encoder(add_margin(torch.rand(1, 1, *size), margins(encoder)))
    for level, strides in zip(levels, encoder.strides, strict=True):
        assert list(level.shape[2:]) == [length // stride for length, stride in zip(size, strides, strict=True)]


@pytest.mark.parametrize("name", ["dense_squeezenet1_0"])  # U-Nets have norms over the whole image
def test_the_middle_of_an_image_is_judged_alike_in_images_of_other_sizes(name: str) -> None:
    """Edge values around an image change what is near the border only; without the margin all of it changes."""
    network = build_network(name, out_channels=2, seed=0).eval()
    image = F.interpolate(torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)), size=(320, 320))
    with torch.no_grad():
        whole = network(image)
        part = network(image[:, :, 64:272, 64:256])  # 208 x 192 from a multiple of all strides on
    inner = whole[:, :, 144:192, 136:184], part[:, :, 80:128, 72:120]
    scale = float(whole.std())
    assert float((inner[0] - inner[1]).abs().max()) < 0.02 * scale


def test_without_a_margin_the_levels_do_not_fit() -> None:
    encoder = build_encoder("squeezenet1_0", 1).eval()
    with torch.no_grad():
        (first, *_) = encoder(torch.rand(1, 1, 64, 48))
    assert list(first.shape[2:]) == [29, 21]  # instead of 32 and 24
