"""In training the adapters and the task stages move, and not one bit of the source."""

from __future__ import annotations

import io

import pytest
import torch
from peft_toy import METHODS, MIXED, NETWORKS, Toy, disturb, mixed_body, network_of, same, snapshot, train, wrapped_toy
from torch import nn
from torch.nn.utils import parametrize

from medtl_monai.transfer import peft

EACH = pytest.mark.parametrize("method", METHODS)


@EACH
@pytest.mark.parametrize("name", ["unet", "vit", "mixed"])
def test_five_steps_move_adapters_and_task_alone(method: str, name: str) -> None:
    network = wrapped_toy(method) if name == "mixed" else network_of(name)
    METHODS[method].wrap(network)  # the second time nothing happens
    groups = METHODS[method].groups(network, 0.05, 0.0)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held)), "a scale that two tensors share is held once"
    assert set(held) == {id(p) for p in network.parameters() if p.requires_grad}
    before = snapshot(network)
    train(network, torch.optim.SGD(groups, lr=0.05), MIXED if name == "mixed" else NETWORKS[name])
    moved = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    task = {n for n in before if network.stage_of(n) in network.task_stages}
    adapters = {f"{n}.{p}" for n, adapter in peft.adapters(network).items() for p, _ in adapter.named_parameters()}
    assert adapters
    assert moved == adapters | task, "the source's tensors and statistics are the same in every bit"


@EACH
def test_adapters_train_whatever_is_frozen_later(method: str) -> None:
    network = wrapped_toy(method)
    for frozen in (["stage1"], ["stage1", "head"], [], ["stage1"]):
        network.freeze(frozen)
        adapters = [p for adapter in peft.adapters(network).values() for p in adapter.parameters()]
        assert all(p.requires_grad for p in adapters)
        assert network.class_head.weight.requires_grad == ("head" not in frozen)
    norm = network.train().body[1]
    assert not norm.training
    assert not network.body[3].training
    assert network.frozen_stages == ("stage1",)


def test_freezing_would_stop_them_otherwise() -> None:
    """The planted defect: an adapter that is a plain module stands still in a frozen stage."""
    network = Toy(mixed_body())
    plain = nn.Identity()
    plain.register_parameter("scale", nn.Parameter(torch.ones(1)))
    parametrize.register_parametrization(network.body[4], "weight", plain)
    network.freeze(["stage1"])
    assert not plain.scale.requires_grad


@EACH
def test_a_training_goes_on_from_its_state_dict(method: str) -> None:
    network, other = wrapped_toy(method), wrapped_toy(method)
    disturb(network)
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert same(snapshot(other), snapshot(network))
    image = torch.randn(MIXED)
    assert torch.equal(other.eval()(image), network.eval()(image))
