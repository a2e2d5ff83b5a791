"""ACS convolution against dense 3D convolutions whose kernels are zero off the view's plane."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.acs import AcsConv3d, view_split


def _dense_kernel(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """``(o, i, k, k) -> (o, i, k, k, k)``: each kernel laid into the middle plane of its view, one by one."""
    outputs, inputs, kernel = weight.shape[0], weight.shape[1], weight.shape[2]
    units = outputs if groups == 1 else groups
    share, rest = divmod(units, 3)
    axial, coronal = share + (1 if rest >= 1 else 0), share + (1 if rest == 2 else 0)
    middle = (kernel - 1) // 2
    dense = torch.zeros(outputs, inputs, kernel, kernel, kernel)
    for output in range(outputs):
        unit = output * units // outputs
        if unit < axial:
            dense[output, :, :, :, middle] = weight[output]
        elif unit < axial + coronal:
            dense[output, :, :, middle, :] = weight[output]
        else:
            dense[output, :, middle, :, :] = weight[output]
    return dense


def _brute_force(conv: nn.Conv2d, volume: torch.Tensor, depth_stride: int, padding: tuple[int, int]) -> torch.Tensor:
    padded = F.pad(volume, [*padding, 0, 0, 0, 0], mode="replicate")
    stride = (*conv.stride, depth_stride)
    dense = _dense_kernel(conv.weight.detach(), conv.groups)
    side = int(conv.padding[0])
    return F.conv3d(padded, dense, conv.bias, stride, (side, side, 0), conv.dilation[0], conv.groups)


CASES = {
    "3x3": (nn.Conv2d(3, 7, 3, padding=1), 1, (1, 1)),
    "7x7 stride 2, stem": (nn.Conv2d(2, 8, 7, 2, 3, bias=False), 1, (3, 3)),
    "7x7 stride 2, no padding": (nn.Conv2d(2, 9, 7, 2), 1, (3, 3)),
    "stride 2 in depth too": (nn.Conv2d(2, 5, 3, 2, 1), 2, (1, 1)),
    "even kernel": (nn.Conv2d(2, 6, 4, 4), 1, (1, 2)),
    "dilated": (nn.Conv2d(2, 6, 3, padding=2, dilation=2), 1, (2, 2)),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8), 1, (1, 1)),
    "grouped": (nn.Conv2d(8, 20, 3, padding=1, groups=4, bias=False), 1, (1, 1)),
    "fewer outputs than views": (nn.Conv2d(3, 2, 3, padding=1), 1, (1, 1)),
    "1x1 stride 2": (nn.Conv2d(3, 4, 1, 2), 1, (0, 0)),
}


@pytest.mark.parametrize(("conv", "depth_stride", "padding"), CASES.values(), ids=CASES.keys())
def test_equals_the_dense_convolution(conv: nn.Conv2d, depth_stride: int, padding: tuple[int, int]) -> None:
    torch.manual_seed(0)
    volume = torch.randn(2, conv.in_channels, 17, 14, 9)
    with torch.no_grad():
        result = AcsConv3d(conv, depth_stride, padding)(volume)
        expected = _brute_force(conv, volume, depth_stride, padding)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("conv", "depth_stride", "padding"), CASES.values(), ids=CASES.keys())
def test_parameters_are_those_of_the_2d_convolution(
    conv: nn.Conv2d, depth_stride: int, padding: tuple[int, int]
) -> None:
    acs = AcsConv3d(conv, depth_stride, padding)
    state = conv.state_dict()
    assert {name: tensor.shape for name, tensor in acs.state_dict().items()} == {n: t.shape for n, t in state.items()}
    acs.load_state_dict(state)
    acs(torch.randn(1, conv.in_channels, 17, 14, 9)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in acs.parameters())


@pytest.mark.parametrize(
    ("count", "split"), [(64, (22, 21, 21)), (96, (32, 32, 32)), (32, (11, 11, 10)), (1, (1, 0, 0))]
)
def test_channels_are_shared_out(count: int, split: tuple[int, int, int]) -> None:
    assert view_split(count) == split


def test_each_view_looks_along_its_own_plane() -> None:
    """A voxel spreads over its own slice, its coronal plane and its sagittal plane, and nowhere else."""
    conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    volume = torch.zeros(1, 1, 7, 7, 7)
    volume[0, 0, 3, 3, 3] = 1
    spread = AcsConv3d(conv, 1, (1, 1))(volume)[0].detach().ne(0)
    for view, thin in enumerate((2, 1, 0)):  # axial: flat along depth; coronal: along W; sagittal: along H
        assert spread[view].sum() == 9
        assert [len(axis.unique()) for axis in spread[view].nonzero().T] == [1 if a == thin else 3 for a in range(3)]


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(1, 3, (3, 1)), nn.Conv2d(1, 3, 3, padding=(1, 0)), nn.Conv2d(1, 3, 3, (2, 1))]
)
def test_an_oblong_kernel_is_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(ConfigError, match="same along both axes"):
        AcsConv3d(conv, 1, (1, 1))


def test_scripts_and_exports() -> None:
    acs, volume = AcsConv3d(nn.Conv2d(4, 8, 3, 2, 1, groups=4), 1, (1, 1)).eval(), torch.randn(1, 4, 9, 8, 5)
    expected = acs(volume)
    torch.testing.assert_close(torch.jit.script(acs)(volume), expected)
    torch.testing.assert_close(torch.export.export(acs, (volume,)).module()(volume), expected)
