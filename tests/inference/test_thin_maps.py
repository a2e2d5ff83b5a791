"""The gradient of 3D convolutions in bfloat16, with other people's NaN in the memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtl_monai.inference.precision import forward_in


def leave_nan_in_memory() -> None:
    """Freed blocks of many sizes, full of NaN: whoever reads memory before writing it finds them."""
    blocks = [torch.full((size,), float("nan")) for size in range(1000, 400_000, 20_000)]
    del blocks


def gradients(layer: nn.Module, image: torch.Tensor, precision: str) -> list[torch.Tensor]:
    """Gradients of weights and image of a random, fixed weighting of the output."""
    layer.zero_grad()
    image = image.clone().requires_grad_()
    leave_nan_in_memory()
    output = forward_in(precision, image, layer)
    leave_nan_in_memory()
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    assert image.grad is not None
    return [image.grad, *(parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (5, 2)])
def test_gradients_are_those_of_float32(depth: int, kernel: int, stride: int) -> None:
    """On a CPU with AVX-512 plain autocast fails at depth 2 with kernel 3, and at depths 2 to 4 with kernel 5."""
    torch.manual_seed(0)
    layer = nn.Conv3d(16, 16, kernel, stride=stride, padding=kernel // 2)
    image = torch.randn(2, 16, depth, 9, 9)
    true = gradients(layer, image, "float32")
    for _ in range(10):
        for found, right in zip(gradients(layer, image, "bfloat16"), true, strict=True):
            assert torch.isfinite(found).all()
            assert (found - right).abs().max() < 0.05 * right.abs().max()


def test_transposed_convolutions_too() -> None:
    torch.manual_seed(0)
    layer, image = nn.ConvTranspose3d(16, 16, 3, padding=1), torch.randn(1, 16, 2, 9, 9)
    true = gradients(layer, image, "float32")
    for _ in range(10):
        for found, right in zip(gradients(layer, image, "bfloat16"), true, strict=True):
            assert (found - right).abs().max() < 0.05 * right.abs().max()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("depth", [5, 6, 7])
def test_a_strided_kernel_of_seven_is_right_in_both_precisions(depth: int, precision: str) -> None:
    """Plain float32 is wrong here too, and crashes at a depth of 5: the truth is float64's."""
    torch.manual_seed(0)
    layer, image = nn.Conv3d(4, 16, 7, stride=2, padding=3), torch.randn(1, 4, depth, 9, 9)
    found = gradients(layer, image, precision)
    output = layer.double()(image.double().requires_grad_())
    layer.zero_grad()
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    assert layer.weight.grad is not None
    assert (found[1] - layer.weight.grad).abs().max() < 0.05 * layer.weight.grad.abs().max()


def dtypes(layer: nn.Module, image: torch.Tensor) -> list[torch.dtype]:
    seen: list[torch.dtype] = []
    layer.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    forward_in("bfloat16", image, layer)
    return seen


def test_only_thin_maps_of_a_training_are_in_float32() -> None:
    thin, deep = torch.randn(1, 4, 2, 9, 9), torch.randn(1, 4, 4, 2, 2)
    assert dtypes(nn.Conv3d(4, 4, 3, padding=1), thin) == [torch.float32]
    assert dtypes(nn.Conv3d(4, 4, 3, padding=1), deep) == [torch.bfloat16]
    assert dtypes(nn.Conv3d(4, 4, 1), thin) == [torch.bfloat16]
    assert dtypes(nn.Conv2d(4, 4, 3, padding=1), torch.randn(1, 4, 2, 9)) == [torch.bfloat16]
    with torch.no_grad():
        assert dtypes(nn.Conv3d(4, 4, 3, padding=1), thin) == [torch.bfloat16]


class ByName(nn.Conv3d):
    """A convolution that hands its arguments over by name, on a map without batch axis."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv3d(input=image[0], weight=self.weight, bias=self.bias, padding=1)[None]


def test_arguments_by_name_and_no_batch_axis() -> None:
    thin, deep = torch.randn(1, 4, 2, 9, 9), torch.randn(1, 4, 4, 2, 2)
    assert dtypes(ByName(4, 4, 3), thin) == [torch.float32]
    assert dtypes(ByName(4, 4, 3), deep) == [torch.bfloat16]
