"""2D kernels made 3D, against the formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from medtl_monai.errors import WeightsError
from medtl_monai.weights.inflation import append_axis, centre_tap, inflate_centre, inflate_mean

Inflation = Callable[[torch.Tensor, int], torch.Tensor]


def _without_division(weight: torch.Tensor, depth: int) -> torch.Tensor:
    """The planted defect: repeated along depth, 1/k forgotten."""
    return weight.unsqueeze(-1).repeat(1, 1, 1, 1, depth)


def _flat_volume_ratio(inflation: Inflation, depth: int) -> float:
    """3D result over 2D result for an image repeated along depth, where the kernel is wholly inside."""
    weight = torch.rand(4, 3, 3, 3) + 0.1
    image = torch.rand(1, 3, 8, 8) + 0.1
    expected = F.conv2d(image, weight)
    volume = image.unsqueeze(-1).repeat(1, 1, 1, 1, depth)
    return float((F.conv3d(volume, inflation(weight, depth))[..., 0] / expected).mean())


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 16])
def test_mean_kernel_sums_to_the_2d_kernel(depth: int) -> None:
    weight = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    inflated = inflate_mean(weight, depth)
    assert inflated.shape == (5, 2, 3, 3, depth)
    torch.testing.assert_close(inflated.sum(-1), weight)
    assert torch.equal(inflated, inflated.flip(-1))


@pytest.mark.parametrize(("depth", "filled"), [(1, 0), (2, 0), (3, 1), (4, 1), (7, 3)])
def test_centre_kernel_is_the_2d_kernel_in_one_slice(depth: int, filled: int) -> None:
    weight = torch.randn(5, 2, 3, 3)
    inflated = inflate_centre(weight, depth)
    assert [index for index in range(depth) if inflated[..., index].abs().sum() > 0] == [filled] == [centre_tap(depth)]
    assert torch.equal(inflated[..., filled], weight)


@pytest.mark.parametrize("inflation", [inflate_mean, inflate_centre])
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_a_volume_constant_along_depth_gives_the_2d_result(inflation: Inflation, depth: int) -> None:
    assert _flat_volume_ratio(inflation, depth) == pytest.approx(1.0, rel=1e-5)


def test_forgetting_to_divide_makes_everything_three_times_too_large() -> None:
    assert _flat_volume_ratio(_without_division, 3) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("inflation", [inflate_mean, inflate_centre])
@pytest.mark.parametrize(("shape", "depth"), [((4, 3, 3), 3), ((4, 3, 3, 3, 3), 3), ((4, 3, 3, 3), 0)])
def test_what_is_no_2d_kernel_is_refused(inflation: Inflation, shape: tuple[int, ...], depth: int) -> None:
    with pytest.raises(WeightsError, match="cannot be inflated"):
        inflation(torch.zeros(shape), depth)


def test_a_factor_per_channel_gets_an_axis_more() -> None:
    scale = torch.randn(5, 1, 1)
    volume = torch.randn(2, 5, 3, 4, 6)
    torch.testing.assert_close(append_axis(scale) * volume, torch.einsum("c,bchwd->bchwd", scale[:, 0, 0], volume))
    with pytest.raises(WeightsError, match="factor per channel"):
        append_axis(torch.zeros(5, 1, 2))
