"""Inferers: a volume that fits is one forward pass, a larger one is MONAI's sliding window."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import BlendMode
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.inference.inferers import PatchInferer, VolumeInferer
from medtl_monai.networks.factory import build_network


class Recording(nn.Module):
    """A small network that keeps the shapes it was given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(1, 3, 3, padding=1)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor, shift: float = 0.0, *, factor: float = 1.0) -> torch.Tensor:
        self.shapes.append(tuple(image.shape))
        return factor * self.conv(image) + shift


def volume(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("size", [(12, 12, 12), (5, 9, 12), (1, 1, 1)])
def test_a_volume_that_fits_is_one_forward_pass(size: tuple[int, int, int]) -> None:
    network = Recording()
    with torch.no_grad():
        output = VolumeInferer((12, 12, 12))(volume(*size, batch=2), network)
        assert network.shapes == [(2, 1, *size)], "at its own size, all of the batch at once"
        assert torch.equal(output, network(volume(*size, batch=2)))


@pytest.mark.parametrize("size", [(13, 12, 12), (20, 15, 17), (30, 6, 9), (12, 12, 40)])
@pytest.mark.parametrize(("overlap", "sw_batch_size"), [(0.5, 1), (0.25, 3), (0.0, 2)])
def test_a_larger_volume_is_monais_sliding_window(
    size: tuple[int, int, int], overlap: float, sw_batch_size: int
) -> None:
    network = Recording()
    with torch.no_grad():
        output = VolumeInferer((12, 12, 12), overlap, sw_batch_size)(volume(*size), network)
        window = tuple(min(length, 12) for length in size)
        assert {shape[2:] for shape in network.shapes} == {window}, "never filled up with zeros"
        reference = SlidingWindowInferer(window, sw_batch_size, overlap, mode=BlendMode.GAUSSIAN)
        assert torch.equal(output, reference(volume(*size), network))


@pytest.mark.parametrize("size", [(17, 12, 20), (24, 9, 12)])
def test_windows_blend_to_the_whole(size: tuple[int, int, int]) -> None:
    """A network without neighbourhood gives the same in windows as at once, so every voxel has weights of sum 1."""
    pointwise = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        output = VolumeInferer((12, 12, 12))(volume(*size), pointwise)
        torch.testing.assert_close(output, pointwise(volume(*size)), rtol=1e-5, atol=1e-5)


def test_a_window_filled_with_zeros_would_change_the_answer() -> None:
    """Why a volume that fits is not padded: MONAI's inferer pads with zeros, and instance norm sees them."""
    network = build_network("unet").eval()
    image = volume(16, 16, 16) + 5
    with torch.no_grad():
        direct = network(image)
        assert torch.equal(VolumeInferer((32, 32, 32))(image, network), direct)
        padded = SlidingWindowInferer((32, 32, 32), mode=BlendMode.GAUSSIAN)(image, network)
    assert (padded - direct).abs().max() > 0.01 * direct.abs().max()


@pytest.mark.parametrize("size", [(10, 11, 12), (20, 11, 12)])
def test_bfloat16_is_float32_outside_and_close(size: tuple[int, int, int]) -> None:
    network = build_network("unet", out_channels=3).eval()
    with torch.no_grad():
        exact = VolumeInferer((16, 16, 16))(volume(*size), network)
        rounded = VolumeInferer((16, 16, 16), precision="bfloat16")(volume(*size), network)
    assert rounded.dtype == torch.float32
    assert rounded.shape == exact.shape
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).square().mean().sqrt() < 0.05 * exact.std()


@pytest.mark.parametrize("size", [(8, 8, 8), (20, 8, 8)])
def test_further_arguments_reach_the_network_after_the_image(size: tuple[int, int, int]) -> None:
    network = Recording()
    with torch.no_grad():
        plain = VolumeInferer((12, 12, 12))(volume(*size), network)
        output = VolumeInferer((12, 12, 12))(volume(*size), network, 1.5, factor=2.0)
        torch.testing.assert_close(output, 2.0 * plain + 1.5)
        patch = PatchInferer()(volume(8, 8, 8), network, 1.5, factor=2.0)
        torch.testing.assert_close(patch, 2.0 * network(volume(8, 8, 8)) + 1.5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_a_patch_trains(precision: str) -> None:
    network = build_network("unet", out_channels=3)
    output = PatchInferer(precision)(volume(8, 9, 10, batch=2), network)
    assert (output.shape, output.dtype) == ((2, 3, 8, 9, 10), torch.float32)
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in network.parameters())


def test_float32_patch_is_the_plain_call() -> None:
    network = Recording()
    assert torch.equal(PatchInferer()(volume(8, 8, 8), network), network(volume(8, 8, 8)))


@pytest.mark.parametrize("size", [(8, 8, 8), (20, 8, 8)])
def test_geometry_of_the_image_stays_with_the_output(size: tuple[int, int, int]) -> None:
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    image = MetaTensor(volume(*size), affine=affine)
    with torch.no_grad():
        output = VolumeInferer((12, 12, 12))(image, Recording())
    assert isinstance(output, MetaTensor)
    assert torch.equal(output.affine, affine)


def test_settings_are_checked_before_any_work() -> None:
    for make in (PatchInferer, lambda precision: VolumeInferer((8, 8, 8), precision=precision)):
        with pytest.raises(ConfigError, match=r"unknown precision; .*got fp16"):
            make("fp16")


@pytest.mark.parametrize(
    "settings",
    [
        {"roi_size": ()},
        {"roi_size": (8, 0, 8)},
        {"roi_size": (8, 8, 8), "overlap": 1.0},
        {"roi_size": (8, 8, 8), "overlap": -0.1},
        {"roi_size": (8, 8, 8), "sw_batch_size": 0},
    ],
)
def test_windows_out_of_range(settings: dict) -> None:
    with pytest.raises(ConfigError, match="window out of range"):
        VolumeInferer(**settings)


def test_a_volume_with_other_axes_than_the_window() -> None:
    with pytest.raises(ConfigError, match=r"expected \(8, 8\), got \(4, 4, 4\)"):
        VolumeInferer((8, 8))(volume(4, 4, 4), Recording())
