"""LoRA against its formula: the dense product added to the weight, and the branch of two layers beside it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft_toy import LAYERS, Toy, disturb, layer, mixed_body, relative
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer import lora, peft
from medtl_monai.transfer.param_groups import learning_rate_scale


def wrapped(name: str, rank: int = 2, alpha: float = 3.0) -> tuple[Toy, nn.Module, lora.LowRank, torch.Tensor]:
    network, plain, image = layer(name)
    lora.wrap(network, rank, alpha)
    disturb(network)
    (adapter,) = peft.adapters(network).values()
    assert isinstance(adapter, lora.LowRank)
    return network, plain, adapter, image


@pytest.mark.parametrize(
    ("name", "groups"),
    [(name, 2 if name == "conv3d grouped" else 1) for name in LAYERS if "norm" not in name and "att" not in name][:-1],
)
@torch.no_grad()
def test_the_weight_is_the_dense_sum(name: str, groups: int) -> None:
    network, plain, adapter, image = wrapped(name)
    weight = plain.weight.double().numpy()
    up, down = adapter.up.double().numpy(), adapter.down.double().numpy()
    dense = weight.copy()
    rows = weight.shape[0] // groups
    for row in range(weight.shape[0]):
        for r in range(2):
            dense[row] += 3.0 / 2 * up[row, r] * down[row // rows * 2 + r]
    plain.weight.copy_(torch.from_numpy(dense))
    assert relative(network.body(image), plain(image)) <= 1e-5
    change = (dense - weight).reshape(groups, rows, -1)
    assert [np.linalg.matrix_rank(block) for block in change] == [2] * groups


@pytest.mark.parametrize("name", ["linear", "conv2d", "conv2d dilated", "conv3d", "conv3d strided", "conv3d grouped"])
@torch.no_grad()
def test_two_small_layers_beside_the_frozen_one(name: str) -> None:
    """Down with the layer's own kernel, stride, padding and dilation, then a 1x1 convolution up."""
    network, plain, adapter, image = wrapped(name)
    if isinstance(plain, nn.Linear):
        branch = image @ adapter.down.T @ adapter.up.T
    else:
        convolve = F.conv2d if plain.weight.ndim == 4 else F.conv3d
        down = convolve(image, adapter.down, None, plain.stride, plain.padding, plain.dilation, plain.groups)
        pointwise = adapter.up.reshape(*adapter.up.shape, *[1] * (plain.weight.ndim - 2))
        branch = convolve(down, pointwise, groups=plain.groups)
    assert relative(network.body(image), plain(image) + 1.5 * branch) <= 1e-5


@torch.no_grad()
def test_queries_keys_and_values_have_a_change_each() -> None:
    network, plain, image = layer("attention")
    lora.wrap(network, rank=2)
    disturb(network)
    adapter = next(a for n, a in peft.adapters(network).items() if "in_proj_weight" in n)
    assert isinstance(adapter, lora.LowRank)
    tokens = []
    for part in range(3):
        rows, ranks = slice(8 * part, 8 * part + 8), slice(2 * part, 2 * part + 2)
        weight = plain.attention.in_proj_weight[rows] + adapter.up[rows] @ adapter.down[ranks]
        full = image @ weight.T + plain.attention.in_proj_bias[rows]
        tokens.append(full.unflatten(2, (2, 4)).transpose(1, 2))
    mixed = F.scaled_dot_product_attention(*tokens).transpose(1, 2).flatten(2)
    out = network.body.attention.out_proj
    assert relative(network.body(image), mixed @ out.weight.T + out.bias) <= 1e-5


def test_start_and_seed() -> None:
    """Up is zero; down is uniform within 1 / sqrt(fan in); the seed alone decides, the global state stays."""
    networks = [Toy(nn.Conv3d(16, 64, 3)) for _ in range(3)]
    state = torch.get_rng_state()
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        lora.wrap(network, rank=8, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, second, third = (next(iter(peft.adapters(network).values())) for network in networks)
    assert first.up.shape == (64, 8)
    assert first.down.shape == (8, 16, 3, 3, 3)
    assert not first.up.any()
    assert torch.equal(first.down, second.down)
    assert not torch.equal(first.down, third.down)
    bound = (16 * 27) ** -0.5
    assert first.down.abs().max() <= bound
    assert float(first.down.detach().square().mean().sqrt()) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_kernels_that_would_not_become_smaller_are_passed_over() -> None:
    network = Toy(nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 1)))
    reason = "rank 4 needs as many numbers as the weight itself"
    assert peft.passed_over(network, lora.rule()) == {"body.0": reason, "body.2": reason}
    apart = Toy(nn.MultiheadAttention(16, 2, kdim=8, vdim=8))
    assert peft.passed_over(apart, lora.rule()) == {"body": "it keeps queries, keys and values apart"}


@pytest.mark.parametrize(("rank", "alpha"), [(0, None), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_rank_and_alpha_are_positive(rank: int, alpha: float | None) -> None:
    network = Toy(mixed_body())
    with pytest.raises(ConfigError, match="rank and alpha of LoRA out of range"):
        lora.wrap(network, rank, alpha)
    assert not peft.adapters(network)


def test_rates_follow_the_frozen_weights() -> None:
    network = Toy(nn.Sequential(nn.Conv3d(8, 8, 3), nn.Conv3d(8, 8, 3)))
    with torch.no_grad():
        network.body[1].weight.mul_(50)
    plain = copy.deepcopy(network)
    lora.wrap(network)
    groups = {group["name"]: group for group in lora.groups(network, 0.01, 0.1)}
    for index in (0, 1):
        scale = learning_rate_scale(plain.body[index].weight)
        assert groups[f"body.{index}.parametrizations.weight.0.up"]["lr"] == pytest.approx(0.01 * scale)
        assert groups[f"body.{index}.parametrizations.weight.0.down"]["lr"] == 0.01
    assert all(group["lr"] * group["weight_decay"] in (0.0, pytest.approx(0.001)) for group in groups.values()), (
        "the decay of a step is the same everywhere"
    )
    assert [name for name in groups if "parametrizations" not in name] == ["norms and biases", "class_head.weight"]


def test_half_precision_does_not_swallow_small_changes() -> None:
    network, plain, adapter, _ = wrapped("conv3d")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        weight = network.body.weight
    dense = plain.weight + 1.5 * (adapter.up @ adapter.down.flatten(1)).view_as(plain.weight)
    assert weight.dtype == torch.float32
    assert relative(weight, dense) <= 1e-6


def test_a_sensible_share_of_a_real_network() -> None:
    network = build_network("highres3dnet")
    lora.wrap(network)
    share = peft.trainable_share(network)
    by_hand = sum(
        4 * (conv.out_channels + conv.in_channels * conv.kernel_size[0] ** 3)
        for name, conv in network.named_modules()
        if isinstance(conv, nn.Conv3d) and not name.startswith("blocks.11")
    )
    assert share.adapters == by_hand
    assert 0.01 < share.fraction < 0.2
