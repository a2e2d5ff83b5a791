"""Strategies: what trains, what does not, and that a new head is never left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.source import load_source, network_for
from medtl_monai.transfer.strategy import STRATEGIES, build_optimizer, build_strategy
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.read import read_state

NETWORKS = pytest.mark.parametrize("name", ["highres3dnet", "unet"])


def held(optimizer: torch.optim.Optimizer, network: nn.Module) -> set[str]:
    """Names of the parameters that an optimiser holds, each exactly once."""
    listed = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    names = {name for name, parameter in network.named_parameters() if id(parameter) in listed}
    assert len(names) == len(listed)
    return names


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(0)
    network.train()
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(torch.randn(2, 1, 6, 7, 5)), torch.randint(0, 2, (2, 6, 7, 5))).backward()
    optimizer.step()


def test_the_words_of_the_command_line() -> None:
    words = ["scratch", "fine_tune", "linear_probe", "llrd", "gradual_unfreeze", "l2_sp", "bss"]
    assert [name for name in STRATEGIES if name in words] == words
    assert all(STRATEGIES[name].name == name for name in STRATEGIES)
    assert all(row.summary for row in STRATEGIES.values())


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("linear-probe", "linear_probe"),
        ("finetune", "fine_tune"),
        ("l2sp", "l2_sp"),
        ("gradual", "gradual_unfreeze"),
        ("freezeto_layer2", "freeze_to_<stage>"),
    ],
)
def test_unknown_strategy(word: str, near: str) -> None:
    words = r"expected one of scratch, fine_tune, linear_probe, .*freeze_to_<stage>"
    with pytest.raises(ConfigError, match=rf"{words}, got {word}; did you mean '{near}'"):
        build_strategy(word)


@NETWORKS
def test_fine_tune_trains_everything(name: str) -> None:
    network = build_network(name)
    network.freeze(["stem", "head"])  # left from before
    optimizer = build_optimizer(network, strategy="fine_tune", lr=1e-3)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert held(optimizer, network) == {n for n, _ in network.named_parameters()}
    assert network.frozen_stages == ()


@NETWORKS
def test_linear_probe_trains_the_head_alone(name: str) -> None:
    network = build_network(name)
    optimizer = build_optimizer(network, strategy="linear_probe", lr=1e-3)
    head = {n for n, _ in network.named_parameters() if network.stage_of(n) == "head"}
    assert held(optimizer, network) == head
    assert {n for n, p in network.named_parameters() if p.requires_grad} == head
    assert network.frozen_stages == tuple(stage for stage in network.stages if stage != "head")


@NETWORKS
def test_the_new_head_trains_whatever_was_frozen_before(name: str) -> None:
    """The tutorial defect: all frozen after the head was replaced, and the head stays random for ever."""
    network = build_network(name)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.freeze(network.stages)
    optimizer = build_optimizer(network, strategy="linear_probe", lr=1e-3)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    step(network, optimizer)
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n in before if network.stage_of(n) == "head"}


def test_linear_probe_on_the_published_body(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    network = network_for("highres3dnet_gif", default="unet", out_channels=2)
    load_source(network, "highres3dnet_gif")
    optimizer = build_optimizer(network, strategy="linear_probe", lr=1e-3)
    head = network.blocks[11].weight.detach().clone()
    for _ in range(2):
        step(network, optimizer)
    file = real_weights / "highres3dnet" / "highres3dnet_li_parameters-7d297872.pth"
    published = rename(read_state(file), "fepegar_highresnet")
    body = {n: t for n, t in network.state_dict().items() if not n.startswith("blocks.11.")}
    assert len(body) == 120
    assert all(torch.equal(tensor, published[n]) for n, tensor in body.items())
    assert not torch.equal(network.blocks[11].weight, head)


def test_rate_and_decay_reach_the_optimiser() -> None:
    optimizer = build_optimizer(build_network("unet"), strategy="fine_tune", lr=3e-4, weight_decay=0.05)
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(3e-4 * group["lr_scale"])
        decay = 0.0 if group["name"] == "norms and biases" else 0.05
        assert group["weight_decay"] * group["lr_scale"] == pytest.approx(decay)


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="a strategy needs a network with stages; got Sequential"):
        build_optimizer(nn.Sequential(nn.Conv3d(1, 2, 1)), strategy="fine_tune", lr=1e-3)


def test_unknown_strategy_leaves_the_network_alone() -> None:
    network = build_network("unet")
    network.freeze(["stem"])
    with pytest.raises(ConfigError, match="unknown transfer strategy"):
        build_optimizer(network, strategy="gradual", lr=1e-3)
    assert network.frozen_stages == ("stem",)


def test_wrapped_for_distributed_training(process_group: None) -> None:
    network = build_network("highres3dnet")
    wrapped = nn.parallel.DistributedDataParallel(network)
    optimizer = build_optimizer(wrapped, strategy="linear_probe", lr=1e-3)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    wrapped = nn.parallel.DistributedDataParallel(network)  # it wants to know what trains
    step(wrapped, optimizer)
    moved = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {"blocks.11.weight", "blocks.11.bias"}


@pytest.mark.parametrize("strategy", ["lora", "ssf", "bitfit"])
def test_adapters_are_refused_in_several_processes(process_group: None, strategy: str) -> None:
    wrapped = nn.parallel.DistributedDataParallel(build_network("unet_squeezenet1_0"))
    with pytest.raises(ConfigError, match=f"'{strategy}' adds parameters that several processes would not keep equal"):
        build_optimizer(wrapped, strategy=strategy, lr=1e-3)


def test_a_probe_trains_all_that_the_task_brings_along() -> None:
    """A random decoder under a trained head would be no probe of the source."""
    for name, parts in (("unet_squeezenet1_0", {"decoder", "head_conv"}), ("classifier_squeezenet1_0", {"class_head"})):
        network = build_network(name)
        build_optimizer(network, strategy="linear_probe", lr=0.1)
        trained = {tensor.split(".")[0] for tensor, value in network.named_parameters() if value.requires_grad}
        assert trained == parts
