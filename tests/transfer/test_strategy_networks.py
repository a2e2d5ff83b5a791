"""Every strategy with several networks: what is in the optimiser, what decays, and what does not fit."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.strategy import TransferStrategy, build_optimizer, build_strategy

MANY = {
    "unet": "down2",
    "highres3dnet": "dilation2",
    "unet_squeezenet1_0": "stage2",
    "classifier_resnet18": "layer3",
    "unet_medicalnet_resnet10": "layer2",
}
OWN = ("scratch", "fine_tune", "linear_probe", "llrd", "gradual_unfreeze", "l2_sp", "freeze_to")


@cache
def built(name: str) -> StagedNetwork:
    return build_network(name)


def cases() -> list[tuple[str, str]]:
    """Every strategy with every network that it fits."""
    pairs = [
        (name, f"freeze_to_{stage}" if word == "freeze_to" else word) for name, stage in MANY.items() for word in OWN
    ]
    return [*pairs, ("classifier_resnet18", "bss")]


def trains(network: StagedNetwork, strategy: str) -> list[str]:
    """The stages that train in the first epoch, by the definition of each strategy."""
    stages = list(network.stages)
    if strategy in ("linear_probe", "gradual_unfreeze"):
        return [stage for stage in stages if stage in ("decoder", "head")]
    if strategy.startswith("freeze_to_"):
        return stages[stages.index(strategy.removeprefix("freeze_to_")) + 1 :]
    return stages


@pytest.mark.parametrize(("name", "strategy"), cases())
def test_every_parameter_that_trains_is_in_one_group_and_no_other(name: str, strategy: str) -> None:
    network = built(name)
    network.freeze(network.stages)  # the worst that may be left from before
    before = {n: (t.data_ptr(), t._version) for n, t in network.state_dict(keep_vars=True).items()}
    optimizer = build_optimizer(network, strategy=strategy, lr=1e-3, weight_decay=0.05)
    wanted = {n for n, _ in network.named_parameters() if network.stage_of(n) in trains(network, strategy)}
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(listed) == len(set(listed)), "each once"
    assert {n for n, p in network.named_parameters() if id(p) in listed} == wanted
    assert {n for n, p in network.named_parameters() if p.requires_grad} == wanted
    assert {n for n in wanted if network.stage_of(n) == "head"} == {
        n for n, _ in network.named_parameters() if network.stage_of(n) == "head"
    }, "the new head trains in all of them"
    after = {n: (t.data_ptr(), t._version) for n, t in network.state_dict(keep_vars=True).items()}
    assert after == before, "no tensor was written to"
    decays = {
        n: group["weight_decay"] * (group["lr_scale"] if strategy != "llrd" else 1.0)
        for group in optimizer.param_groups
        for n, p in network.named_parameters()
        if any(p is member for member in group["params"])
    }
    for n, parameter in network.named_parameters():
        if n in wanted and (parameter.ndim <= 1 or strategy == "l2_sp"):
            assert decays[n] == 0
        elif n in wanted and strategy != "llrd":
            assert decays[n] == pytest.approx(0.05)
        elif n in wanted:
            assert 0 < decays[n] <= 0.05


@pytest.mark.parametrize(("name", "strategy"), cases())
def test_groups_change_nothing_and_are_the_same_each_time(name: str, strategy: str) -> None:
    network, row = built(name), build_strategy(strategy)
    row.prepare(network)
    before = [(p.requires_grad, p._version) for p in network.parameters()], network.frozen_stages
    first, second = (row.groups(network, 1e-3, 0.01) for _ in range(2))
    assert ([(p.requires_grad, p._version) for p in network.parameters()], network.frozen_stages) == before
    for one, other in zip(first, second, strict=True):
        assert [id(p) for p in one.pop("params")] == [id(p) for p in other.pop("params")]
        assert one == other


@pytest.mark.parametrize("name", MANY)
def test_every_stage_of_the_network_is_a_strategy(name: str) -> None:
    network = built(name)
    stages = [stage for stage in network.stages if stage not in ("decoder", "head")]
    for count, stage in enumerate(stages, 1):
        build_strategy(f"freeze_to_{stage}").prepare(network)
        assert network.frozen_stages == tuple(stages[:count])


@pytest.mark.parametrize("stage", ["head", "decoder"])
def test_freezing_what_the_task_trains_is_refused(stage: str) -> None:
    network = built("unet_squeezenet1_0")
    network.freeze(["stem"])
    with pytest.raises(
        ConfigError, match=rf"'{stage}' belongs to the task.*freeze_to_ and one of stem, stage1, stage2"
    ):
        build_optimizer(network, strategy=f"freeze_to_{stage}", lr=1e-3)
    assert network.frozen_stages == ("stem",)


def test_a_stage_that_another_network_has() -> None:
    network = built("unet")
    network.freeze(["stem"])
    expected = r"'unet' has no stage 'layer4'; expected freeze_to_ and one of stem, down1, down2, down3, up3, up2, up1"
    with pytest.raises(ConfigError, match=expected) as caught:
        build_optimizer(network, strategy="freeze_to_layer4", lr=1e-3)
    fitting = str(caught.value.remedy).removeprefix("networks with one of these encoders have it: ").split(", ")
    assert {"resnet18", "resnet50", "resnext50_32x4d", "medicalnet_resnet10"} <= set(fitting)
    assert not {"vgg16_bn", "swin_t", "highres3dnet"} & set(fitting)
    assert network.frozen_stages == ("stem",)


def test_a_misspelt_stage() -> None:
    with pytest.raises(ConfigError, match="did you mean 'freeze_to_layer3'"):
        build_optimizer(built("classifier_resnet18"), strategy="freeze_to_layer_3", lr=1e-3)


@pytest.mark.parametrize("name", ["unet", "unet_squeezenet1_0", "highres3dnet"])
def test_bss_says_which_networks_it_fits(name: str) -> None:
    network = built(name)
    network.freeze(["stem"])
    with pytest.raises(ConfigError, match=rf"classifier_<encoder>, such as classifier_resnet18, got {name}"):
        build_optimizer(network, strategy="bss", lr=1e-3)
    assert network.frozen_stages == ("stem",)


def test_wrapping_comes_before_freezing() -> None:
    """What a strategy puts into a frozen stage is frozen with it, and a misfit shows before anything is put there."""

    def wrap(wrapped: StagedNetwork) -> None:
        wrapped.stem.register_parameter("adapter", nn.Parameter(torch.zeros(3)))

    network = build_network("unet")
    build_strategy("fine_tune").prepare(network)
    TransferStrategy("adapted", "", frozen=lambda _: ("stem",), wrap=wrap).prepare(network)
    assert not network.stem.adapter.requires_grad
    network = build_network("unet")
    with pytest.raises(ConfigError, match="classifier"):
        TransferStrategy("misfit", "", frozen=build_strategy("bss").frozen, wrap=wrap).prepare(network)
    assert not hasattr(network.stem, "adapter")
