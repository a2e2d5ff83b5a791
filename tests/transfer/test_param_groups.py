"""Parameter groups: each parameter once, and one relative step size for fresh and pretrained weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.param_groups import (
    learning_rate_scale,
    parameter_groups,
    parameter_groups_by_stage,
    source_stages,
)
from medtl_monai.transfer.source import load_source, network_for

FRESH = [
    lambda: nn.Conv3d(1, 16, 3),
    lambda: nn.Conv3d(16, 32, 3),
    lambda: nn.Conv2d(8, 40, 5),
    lambda: nn.Conv3d(64, 80, 1),
    lambda: nn.Conv3d(12, 24, (3, 1, 2), groups=4),
    lambda: nn.Linear(300, 20),
    lambda: nn.ConvTranspose3d(64, 32, 2, 2),
    lambda: nn.ConvTranspose3d(8, 64, 2, 2),
]


@pytest.mark.parametrize("make", FRESH)
def test_scale_of_fresh_layers_is_one(make) -> None:
    """The mean square of n uniform values has a relative standard deviation of sqrt(0.8 / n), the root half of it."""
    for seed in range(5):
        torch.manual_seed(seed)
        weight = make().weight
        assert 1.0 <= learning_rate_scale(weight) < 1.0 + 5 * math.sqrt(0.8 / weight.numel()) / 2


def test_scale_of_a_known_weight() -> None:
    weight = torch.full((4, 3, 5, 2, 2), -0.7)  # RMS 0.7, fan-in 60
    assert learning_rate_scale(weight) == pytest.approx(0.7 * math.sqrt(3 * 60), rel=1e-6)
    assert learning_rate_scale(10 * weight) == pytest.approx(10 * learning_rate_scale(weight), rel=1e-6)
    assert learning_rate_scale(0 * weight) == 1.0, "small weights are not slowed down"


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
def test_scales_of_a_network_from_scratch(name: str) -> None:
    groups = parameter_groups(build_network(name), lr=1e-3, weight_decay=0.01)
    assert max(group["lr_scale"] for group in groups) < 1.15


def test_scales_of_the_published_network(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    network = network_for("highres3dnet_gif", default="unet", out_channels=3)
    load_source(network, "highres3dnet_gif")
    scales = {
        group["name"]: group["lr_scale"]
        for group in parameter_groups(network, lr=1e-3, weight_decay=0.01)
        if group["name"] != "norms and biases"
    }
    assert len(scales) == 21
    head, stem = scales.pop("blocks.11.weight"), scales.pop("blocks.0.conv.weight")
    assert head < 1.15
    assert stem == pytest.approx(16.0, abs=0.1)  # the range that docs/architecture.md tells
    assert min(scales.values()) > 20
    assert max(scales.values()) == pytest.approx(144.1, abs=0.1)


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
@pytest.mark.parametrize("frozen", [[], ["stem"], ["head"]])
def test_every_trainable_parameter_is_in_one_group(name: str, frozen: list[str]) -> None:
    network = build_network(name)
    network.freeze(frozen)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    groups = parameter_groups(network, lr=1e-3, weight_decay=0.01)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    names = {n for n, p in network.named_parameters() if id(p) in listed}
    assert names == {n for n, _ in network.named_parameters() if network.stage_of(n) not in frozen}
    assert all(torch.equal(tensor, before[n]) for n, tensor in network.state_dict().items())
    assert network.frozen_stages == tuple(frozen)


def test_only_weights_decay() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3), nn.Linear(4, 5))
    network.register_parameter("temperature", nn.Parameter(torch.tensor(1.0)))
    groups = parameter_groups(network, lr=1e-3, weight_decay=0.01)
    decaying = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    assert decaying == {id(network[0].weight), id(network[2].weight)}


def test_a_shared_weight_is_listed_once() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    assert sum(len(group["params"]) for group in parameter_groups(network, lr=1.0, weight_decay=0.0)) == 3


def test_decay_of_a_step_is_the_same_for_all_layers() -> None:
    """Without a gradient AdamW multiplies by 1 - lr * decay; the scale must not change that."""
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv3d(3, 3, 1)).double()
    network[1].weight.data *= 40
    before = [layer.weight.detach().clone() for layer in network]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(parameter_groups(network, lr=0.01, weight_decay=0.1)).step()
    for layer, old in zip(network, before, strict=True):
        torch.testing.assert_close(layer.weight.detach(), old * (1 - 0.01 * 0.1), rtol=1e-12, atol=0)


def trained_outputs(factor: float, *, scaled_rate: bool, steps: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Output before and after some AdamW steps of convolution, batch norm and head, with the convolution * factor."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 6, 3), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 2, 1)).double()
    network[0].weight.data *= 1.5 * factor  # 1.5: above the initial size with every factor of 1 or more
    network[0].bias.data *= factor
    image, target = torch.randn(4, 1, 6, 6, 6).double(), torch.randint(0, 2, (4, 4, 4, 4))
    groups = parameter_groups(network, lr=0.01, weight_decay=0.0)
    for group in groups if not scaled_rate else []:
        assert group["lr"] == pytest.approx(0.01 * group["lr_scale"])
    if not scaled_rate:
        groups = [{**group, "lr": 0.01} for group in groups]
    optimizer = torch.optim.AdamW(groups, eps=1e-12)
    first = network(image).detach()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(image), target).backward()
        network[0].bias.grad.zero_()  # in front of a norm it has no effect, only rounding noise as gradient
        optimizer.step()
    return first, network(image).detach()


def test_training_does_not_depend_on_the_size_of_weights_before_a_norm() -> None:
    """A norm makes conv(w) and conv(s w) one function, with a gradient 1/s as large; AdamW ignores that factor.

    So s times the rate keeps the two networks one function through training, and the plain rate does not.
    """
    first, last = trained_outputs(1.0, scaled_rate=True)
    large_first, large_last = trained_outputs(60.0, scaled_rate=True)
    moved = (last - first).abs().max()
    assert moved > 0.05
    assert (large_first - first).abs().max() < 1e-3 * moved
    assert (large_last - last).abs().max() < 1e-3 * moved
    _, plain_last = trained_outputs(60.0, scaled_rate=False)
    assert (plain_last - last).abs().max() > 0.1 * moved


def test_first_step_changes_every_layer_by_the_same_share() -> None:
    """AdamW's first step is lr * sign(gradient): relative to the RMS of the weights, lr * scale / RMS."""
    network = nn.Sequential(nn.Conv3d(3, 8, 3, bias=False), nn.Conv3d(8, 8, 3, bias=False)).double()
    network[0].weight.data *= 2
    network[1].weight.data *= 50
    before = [layer.weight.detach().clone() for layer in network]
    optimizer = torch.optim.AdamW(parameter_groups(network, lr=1e-3, weight_decay=0.0))
    for layer in network:
        layer.weight.grad = torch.randn_like(layer.weight) + 0.01
    optimizer.step()
    for layer, old in zip(network, before, strict=True):
        share = ((layer.weight.detach() - old).square().mean() / old.square().mean()).sqrt().item()
        fan_in = old[0].numel()
        assert share == pytest.approx(1e-3 * math.sqrt(3 * fan_in), rel=1e-4), (
            "that of fresh weights of RMS 1/sqrt(3 n)"
        )


def test_a_schedule_keeps_the_ratios() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv3d(3, 3, 1))
    network[1].weight.data *= 40
    optimizer = torch.optim.AdamW(parameter_groups(network, lr=0.01, weight_decay=0.0))
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10, power=0.9)
    optimizer.step()
    schedule.step()
    rates = {group["lr"] / group["lr_scale"] for group in optimizer.param_groups}
    assert max(rates) == pytest.approx(min(rates)) == pytest.approx(0.01 * 0.9**0.9)


@pytest.mark.parametrize("name", ["unet", "highres3dnet", "unet_squeezenet1_0"])
def test_groups_by_stage_are_the_plain_ones_cut_by_stage(name: str) -> None:
    network = build_network(name)
    network.freeze(["stem"])
    plain = parameter_groups(network, lr=1e-3, weight_decay=0.01)
    groups = parameter_groups_by_stage(network, lr=1e-3, weight_decay=0.01)
    assert list(dict.fromkeys(group["stage"] for group in groups)) == [
        s for s in reversed(network.stages) if s != "stem"
    ]
    names = {id(p): n for n, p in network.named_parameters()}
    for group in groups:
        assert {network.stage_of(names[id(p)]) for p in group["params"]} == {group["stage"]}

    def settings(rows: list) -> dict:
        keys = ("lr", "lr_scale", "weight_decay")
        return {names[id(p)]: tuple(row[key] for key in keys) for row in rows for p in row["params"]}

    assert settings(groups) == settings(plain)
    assert sum(len(group["params"]) for group in groups) == len(settings(plain))


def test_source_stages() -> None:
    assert source_stages(build_network("unet_squeezenet1_0")) == ("stem", "stage1", "stage2", "stage3")
    assert source_stages(build_network("highres3dnet")) == ("stem", "dilation1", "dilation2", "dilation4", "neck")
