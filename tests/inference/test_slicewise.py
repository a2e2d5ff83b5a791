"""Slice by slice equals MONAI's own way and a loop; mirror images are what they say."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.inference.inferers import VolumeInferer
from medtl_monai.inference.mirrored import averaged_over_mirrors
from medtl_monai.inference.slices import SlicewiseInferer


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)).eval()


def volume(*size: int) -> torch.Tensor:
    return torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_it_is_monais_slice_inferer_and_a_loop(network: nn.Module, axis: int, batch_size: int) -> None:
    image = volume(7, 10, 9)
    roi = [length for place, length in enumerate((7, 10, 9)) if place != axis]
    with torch.no_grad():
        found = SlicewiseInferer(axis, batch_size)(image, network)
        reference = SliceInferer(spatial_dim=axis, roi_size=tuple(roi), sw_batch_size=2)(image, network)
        loop = torch.stack([network(part) for part in image.unbind(axis + 2)], dim=axis + 2)
    assert found.shape == (2, 3, 7, 10, 9)
    assert torch.allclose(found, reference, atol=1e-6)
    assert torch.allclose(found, loop, atol=1e-6)


def test_mirror_images_by_hand() -> None:
    image = volume(5, 6, 4)
    weight = torch.arange(5.0).reshape(5, 1, 1)

    def forward(given: torch.Tensor) -> torch.Tensor:
        return given * weight  # depends on the place along axis 0

    found = averaged_over_mirrors(image, forward, [0, 2])
    assert torch.allclose(found, image * (weight + weight.flip(0)) / 2)  # axis 2 changes nothing here
    assert torch.equal(averaged_over_mirrors(image, forward, []), forward(image))


def test_averaged_output_turns_with_the_input(network: nn.Module) -> None:
    image = volume(6, 8, 8)
    inferers = (
        SlicewiseInferer(0, mirror_axes=[1, 2], mirrored=True),
        VolumeInferer((4, 4, 4), 0.5, mirror_axes=[1], mirrored=True),
    )
    torch.manual_seed(0)
    networks = (network, nn.Conv3d(1, 2, 3, padding=1))
    for inferer, own in zip(inferers, networks, strict=True):
        with torch.no_grad():
            straight, turned = inferer(image, own), inferer(image.flip(3), own).flip(3)
            plain = type(inferer)((4, 4, 4) if inferer is inferers[1] else 0)(image, own)
        assert torch.allclose(straight, turned, atol=1e-5)
        assert not torch.allclose(straight, plain, atol=1e-3)


def test_mirror_axes_without_the_switch_do_nothing(network: nn.Module) -> None:
    image = volume(6, 8, 8)
    with torch.no_grad():
        assert torch.equal(SlicewiseInferer(0, mirror_axes=[1])(image, network), SlicewiseInferer(0)(image, network))


def test_refusals(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match="axis 3"):
        SlicewiseInferer(3)
    with pytest.raises(ConfigError, match="not a volume"):
        SlicewiseInferer(0)(torch.zeros(1, 1, 4, 4), network)
    with pytest.raises(ConfigError, match="axes to mirror"):
        averaged_over_mirrors(volume(4, 4, 4), lambda image: image, [0, 0])
    with pytest.raises(ConfigError, match="precision"):
        SlicewiseInferer(0, precision="half")
    with pytest.raises(ConfigError, match="mirrored"):
        VolumeInferer((4, 4, 4), mirrored="perhaps")  # type: ignore[arg-type]
