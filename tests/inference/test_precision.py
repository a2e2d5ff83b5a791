"""Precision by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.inference.precision import PRECISIONS, forward_in, require_precision, resolve_precision

CPU = torch.device("cpu")


def recording(seen: list[torch.dtype]) -> nn.Module:
    network = nn.Conv3d(1, 4, 3, padding=1)
    network.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    return network


@pytest.mark.parametrize("name", ["fp16", "float16", "FLOAT32", "", "half"])
def test_unknown_precision(name: str) -> None:
    for call in (
        lambda: require_precision(name),
        lambda: resolve_precision(name, CPU),
        lambda: forward_in(name, torch.zeros(1, 1, 2, 2, 2), nn.Identity()),
    ):
        with pytest.raises(ConfigError, match="unknown precision; expected one of float32, bfloat16, auto"):
            call()


def test_named_precisions_are_taken_as_they_are() -> None:
    assert PRECISIONS == ("float32", "bfloat16", "auto")
    for device in (CPU, torch.device("cuda"), torch.device("mps")):
        assert resolve_precision("float32", device) == "float32"
        assert resolve_precision("bfloat16", device) == "bfloat16"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_auto_asks_the_processor() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert resolve_precision("auto", CPU) == ("bfloat16" if "avx512_bf16" in flags else "float32")


def test_auto_on_an_unknown_accelerator_is_float32() -> None:
    """The processor's instructions say nothing about another device."""
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_float32_is_the_plain_call() -> None:
    seen: list[torch.dtype] = []
    network, image = recording(seen), torch.randn(1, 1, 5, 6, 7)
    assert torch.equal(forward_in("float32", image, network), network(image))
    assert seen == [torch.float32] * 2


def test_bfloat16_computes_in_it_and_returns_float32() -> None:
    seen: list[torch.dtype] = []
    network, image = recording(seen), torch.randn(1, 1, 5, 6, 7)
    output = forward_in("bfloat16", image, network)
    assert seen == [torch.bfloat16]
    assert output.dtype == torch.float32
    exact = network(image)
    assert seen[1] == torch.float32, "the precision ends with the call"
    assert not torch.equal(output, exact)
    assert (output - exact).abs().max() < 2**-6 * exact.abs().max()  # 8 bits of mantissa, some roundings


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_are_float32(precision: str) -> None:
    network = recording([])
    forward_in(precision, torch.randn(1, 1, 4, 4, 4), network).square().mean().backward()
    assert network.weight.grad.dtype == torch.float32
    assert network.weight.grad.abs().sum() > 0
