"""BitFit against training the biases themselves."""

from __future__ import annotations

import copy

import pytest
import torch
from peft_toy import Attention, Toy, mixed_body, train
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.transfer import bitfit, peft

SHAPE = (2, 2, 5, 6, 4)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_it_is_training_the_biases(make: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    network = Toy(mixed_body())
    by_hand = copy.deepcopy(network)
    bitfit.wrap(network)
    train(network, make(bitfit.groups(network, 0.01, 0.0), lr=0.01), SHAPE)
    by_hand.freeze(["stage1"])
    chosen = [p for n, p in by_hand.named_parameters() if n.endswith("bias") or n.startswith("class_head")]
    for parameter in chosen:
        parameter.requires_grad_(True)
    start = copy.deepcopy(by_hand.state_dict())
    train(by_hand, make(chosen, lr=0.01), SHAPE)
    merged = peft.merged_state(network)
    for name, tensor in by_hand.state_dict().items():
        assert torch.allclose(merged[name], tensor, rtol=1e-4, atol=1e-6), name
        assert torch.equal(tensor, start[name]) == (not (name.endswith("bias") or name.startswith("class_head")))


def test_biases_of_all_kinds() -> None:
    network = Toy(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), Attention(), nn.Linear(8, 8, bias=False)))
    bitfit.wrap(network)
    assert {name.removesuffix(".0").replace("parametrizations.", "") for name in peft.adapters(network)} == {
        "body.0.bias",
        "body.1.bias",
        "body.2.attention.in_proj_bias",
        "body.2.attention.out_proj.bias",
    }
    assert peft.trainable_share(network).adapters == 8 + 8 + 24 + 8


def test_a_body_without_biases_says_so() -> None:
    network = Toy(nn.Sequential(nn.Conv3d(1, 8, 3, bias=False), nn.BatchNorm3d(8, affine=False)))
    with pytest.raises(ConfigError, match=r"bitfit finds nothing to adapt in 'toy'.*got 1 layers: it has no bias"):
        bitfit.wrap(network)
    assert network.frozen_stages == ()


def test_no_weight_decay_on_biases() -> None:
    network = Toy(mixed_body())
    bitfit.wrap(network)
    groups = {group["name"]: group for group in bitfit.groups(network, 0.01, 0.1)}
    assert (groups["biases"]["weight_decay"], len(groups["biases"]["params"])) == (0.0, 4)
