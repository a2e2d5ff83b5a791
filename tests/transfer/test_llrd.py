"""Layer-wise learning rates: the published numbers, and what plain AdamW makes of them."""

from __future__ import annotations

import pytest
import torch

from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.llrd import decayed_groups, stage_factors
from medtl_monai.transfer.param_groups import parameter_groups


def test_the_numbers_of_the_reference() -> None:
    """Six groups at 0.75: those of timm, BEiT and MAE, rounded to three digits."""
    network = build_network("classifier_resnet18")
    factors = stage_factors(network)
    assert list(factors) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert list(factors.values()) == pytest.approx([0.237, 0.316, 0.422, 0.562, 0.75, 1.0], abs=6e-4)


def test_ulmfit_and_no_decay() -> None:
    network = build_network("classifier_resnet18")
    assert stage_factors(network, 1 / 2.6)["layer3"] == pytest.approx(2.6**-2)
    assert set(stage_factors(network, 1.0).values()) == {1.0}


def test_a_fresh_decoder_is_as_fast_as_the_head() -> None:
    factors = stage_factors(build_network("unet_squeezenet1_0"))
    assert factors == {"stem": 0.75**4, "stage1": 0.75**3, "stage2": 0.75**2, "stage3": 0.75, "decoder": 1, "head": 1}


@pytest.mark.parametrize("name", ["unet", "classifier_resnet18"])
def test_rates_are_those_of_fine_tuning_times_the_factor(name: str) -> None:
    """Parameter by parameter, against the plain groups: the scale by weight size and the decay stay."""
    network = build_network(name)
    stage = {id(p): network.stage_of(n) for n, p in network.named_parameters()}
    plain = {id(p): group for group in parameter_groups(network, lr=0.01, weight_decay=0.1) for p in group["params"]}
    factors = stage_factors(network)
    groups = decayed_groups(network, 0.01, 0.1)
    assert sum(len(group["params"]) for group in groups) == len(plain) == len(list(network.parameters()))
    for group in groups:
        for parameter in group["params"]:
            other, factor = plain[id(parameter)], factors[stage[id(parameter)]]
            assert group["stage"] == stage[id(parameter)]
            assert group["lr"] == pytest.approx(other["lr"] * factor, rel=1e-12)
            assert group["lr_scale"] == pytest.approx(other["lr_scale"] * factor, rel=1e-12)
            assert group["weight_decay"] == other["weight_decay"]
            assert (group["weight_decay"] == 0) == (parameter.ndim <= 1)
    assert len({group["name"] for group in groups}) == len(groups)


def test_the_groups_set_nothing_on_the_network() -> None:
    """timm's function of the same purpose switches requires_grad; a frozen stage must stay out and frozen."""
    network = build_network("unet")
    network.freeze(["stem", "down2"])
    before = [(p.requires_grad, p._version) for p in network.parameters()]
    groups = decayed_groups(network, 0.01, 0.1)
    assert [(p.requires_grad, p._version) for p in network.parameters()] == before
    assert {group["stage"] for group in groups} == set(network.stages) - {"stem", "down2"}


def test_first_steps_of_adamw_fall_by_the_factor() -> None:
    """AdamW's first step is lr * sign(gradient), so the step itself shows the rate."""
    network = build_network("unet").double()
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(decayed_groups(network, 1e-4, 0.0), eps=1e-16)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    order = list(network.stages)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            step = (before[name] - parameter.detach()).mean().item()
            depth = order.index(network.stage_of(name))
            assert step == pytest.approx(1e-4 * 0.75 ** (7 - depth), rel=1e-9)
