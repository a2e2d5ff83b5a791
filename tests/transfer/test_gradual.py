"""Gradual unfreezing: the order, and parameter groups that join an optimiser and a schedule at work."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.gradual import add_groups, gradual_groups, gradually_frozen, require_growing_schedule
from medtl_monai.transfer.strategy import build_optimizer

EPOCHS = 8
Make = Callable[[torch.optim.Optimizer], schedules.LRScheduler]
SCHEDULES: dict[str, tuple[Make, Callable[[int], float]]] = {
    "polynomial": (
        lambda optimizer: schedules.PolynomialLR(optimizer, total_iters=EPOCHS, power=0.9),
        lambda epoch: (1 - epoch / EPOCHS) ** 0.9,
    ),
    "lambda": (
        lambda optimizer: schedules.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
        lambda epoch: 1 / (1 + epoch),
    ),
    "cosine": (
        lambda optimizer: schedules.CosineAnnealingLR(optimizer, EPOCHS),
        lambda epoch: (1 + math.cos(math.pi * epoch / EPOCHS)) / 2,
    ),
    "step": (
        lambda optimizer: schedules.StepLR(optimizer, 2, 0.1),
        lambda epoch: 0.1 ** (epoch // 2),
    ),
    "exponential": (lambda optimizer: schedules.ExponentialLR(optimizer, 0.7), lambda epoch: 0.7**epoch),
}


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("classifier_resnet18", ["layer4", "layer3", "layer2", "layer1", "stem"]),
        ("unet_squeezenet1_0", ["stage3", "stage2", "stage1", "stem"]),
        ("unet", ["up1", "up2", "up3", "down3", "down2", "down1", "stem"]),
    ],
)
def test_last_group_first_one_more_per_step(name: str, order: list[str]) -> None:
    network = build_network(name)
    for step in range(1, len(order) + 4):
        assert set(gradually_frozen(network, step)) == set(order[step - 1 :])
    assert set(network.stages) - set(order) == set(network.task_stages), "the task's stages train from the start"


def train_step(network: StagedNetwork, optimizer: torch.optim.Optimizer, seed: int = 0) -> None:
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    network.train()(image).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_group_follows_the_formula_of_the_schedule(kind: str) -> None:
    make, formula = SCHEDULES[kind]
    network = build_network("unet")
    optimizer = build_optimizer(network, strategy="gradual_unfreeze", lr=0.01)
    scheduler = make(optimizer)
    for epoch in range(EPOCHS):
        network.freeze(gradually_frozen(network, epoch + 1))
        add_groups(optimizer, scheduler, gradual_groups(network, 0.01, 0.01))
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(0.01 * group["lr_scale"] * formula(epoch), rel=1e-9)
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        assert scheduler.base_lrs == [group["initial_lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    assert {group["stage"] for group in optimizer.param_groups} == set(network.stages)
    assert network.frozen_stages == ()


def test_the_state_of_those_that_train_already_is_kept() -> None:
    network = build_network("unet")
    optimizer = build_optimizer(network, strategy="gradual_unfreeze", lr=0.01)
    scheduler = SCHEDULES["polynomial"][0](optimizer)
    for seed in range(3):
        train_step(network, optimizer, seed)
    objects = {id(p): id(state) for p, state in optimizer.state.items()}
    before = copy.deepcopy(optimizer.state_dict())
    count = len(optimizer.param_groups)
    network.freeze(gradually_frozen(network, 3))
    new = add_groups(optimizer, scheduler, gradual_groups(network, 0.01, 0.01))
    assert {group["stage"] for group in new} == {"up1", "up2"}
    assert len(optimizer.param_groups) == count + len(new)
    after = optimizer.state_dict()
    assert before["state"].keys() == after["state"].keys(), "no state of the new ones yet"
    for key, state in before["state"].items():
        assert state["exp_avg"].abs().max() > 0
        for part in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(state[part], after["state"][key][part])
    assert {id(p): id(state) for p, state in optimizer.state.items()} == objects
    assert after["param_groups"][:count] == before["param_groups"]

    train_step(network, optimizer)
    steps = {
        network.stage_of(n): int(optimizer.state[p]["step"])
        for n, p in network.named_parameters()
        if p.grad is not None
    }
    assert steps == {"head": 4, "up1": 1, "up2": 1}


def test_a_new_optimiser_would_forget() -> None:
    """The defect beside it: a rebuilt optimiser has lost its moments, so the next step is another one."""
    outcomes = []
    for rebuilt in (False, True):
        network = build_network("unet")
        optimizer = build_optimizer(network, strategy="gradual_unfreeze", lr=0.01)
        for seed in range(3):
            train_step(network, optimizer, seed)
        network.freeze(gradually_frozen(network, 2))
        if rebuilt:
            optimizer = torch.optim.AdamW(gradual_groups(network, 0.01, 0.01))
        else:
            add_groups(optimizer, SCHEDULES["polynomial"][0](optimizer), gradual_groups(network, 0.01, 0.01))
        train_step(network, optimizer)
        outcomes.append(network.head_conv.weight.detach().clone())
    assert not torch.allclose(*outcomes, rtol=1e-3)


def test_nothing_new_changes_nothing() -> None:
    network = build_network("unet")
    optimizer = build_optimizer(network, strategy="fine_tune", lr=0.01)
    scheduler = SCHEDULES["polynomial"][0](optimizer)
    before = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    assert add_groups(optimizer, scheduler, gradual_groups(network, 0.01, 0.01)) == []
    assert (optimizer.state_dict(), scheduler.state_dict()) == before


def test_a_schedule_of_torch_breaks_when_only_the_optimiser_grows() -> None:
    """Why the schedule has to grow too; should this fail, torch has learnt it."""
    network = build_network("unet")
    optimizer = build_optimizer(network, strategy="linear_probe", lr=0.01)
    scheduler = schedules.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    network.freeze([])
    optimizer.add_param_group({"params": list(network.up1.parameters())})
    optimizer.step()
    with pytest.raises(ValueError, match="zip"):
        scheduler.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: schedules.OneCycleLR(optimizer, 0.1, total_steps=5),
        lambda optimizer: schedules.CosineAnnealingLR(optimizer, 5, eta_min=1e-5),
        lambda optimizer: schedules.ReduceLROnPlateau(optimizer),
        lambda optimizer: schedules.LambdaLR(optimizer, [lambda epoch: 0.5**epoch, lambda epoch: 0.1**epoch]),
    ],
)
def test_schedules_that_cannot_grow_are_refused(make: Make) -> None:
    layers = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([{"params": list(layer.parameters())} for layer in layers], 0.1)
    with pytest.raises(ConfigError, match="cannot join"):
        require_growing_schedule(make(optimizer))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_that_can(kind: str) -> None:
    require_growing_schedule(SCHEDULES[kind][0](torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)))


def test_groups_that_went_different_ways_are_refused() -> None:
    layers = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([{"params": list(layer.parameters())} for layer in layers[:2]], 0.1)
    scheduler = SCHEDULES["polynomial"][0](optimizer)
    optimizer.param_groups[1]["lr"] = 0.05
    with pytest.raises(ConfigError, match=r"alike.*got 0\.5 to 1"):
        add_groups(optimizer, scheduler, [{"params": list(layers[2].parameters()), "lr": 0.1}])
    assert len(optimizer.param_groups) == len(scheduler.base_lrs) == 2
