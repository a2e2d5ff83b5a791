"""Stages: who is in them, and what freezing switches off."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork, parameter_count, set_dropout

NORMS_AND_DROPOUTS: tuple[type[nn.Module], ...] = (
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.Dropout,
    nn.Dropout3d,
    nn.AlphaDropout,
)


class Zoo(StagedNetwork):
    """Every layer that behaves differently in training, in two stages and the head."""

    architecture = "zoo"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = self._block(1), self._block(2)
        self.extra = nn.BatchNorm3d(2)
        self.out = nn.Conv3d(2, 3, 1)
        self.stages = {"first": ("first",), "second": ("second", "extra"), "head": ("out",)}

    @staticmethod
    def _block(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(channels, 2, 3, padding=1),
            nn.BatchNorm3d(2),
            nn.SyncBatchNorm(2),
            nn.Sequential(nn.InstanceNorm3d(2, affine=True, track_running_stats=True), nn.GroupNorm(1, 2)),
            nn.Dropout(0.5),
            nn.Dropout3d(0.5),
            nn.AlphaDropout(0.5),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.out(self.extra(self.second(self.first(image))))


def modes(module: nn.Module) -> set[bool]:
    return {layer.training for layer in module.modules() if isinstance(layer, NORMS_AND_DROPOUTS)}


def trainable(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def test_frozen_stages_have_no_gradient_and_stand_still() -> None:
    network = Zoo()
    network.freeze(["first"])
    assert network.frozen_stages == ("first",)
    assert not any(name.startswith("first.") for name in trainable(network))
    assert set(trainable(network)) == {n for n, _ in network.named_parameters() if not n.startswith("first.")}
    assert modes(network.first) == {False}
    assert modes(network.second) == {True}
    assert network.training


@pytest.mark.parametrize(
    "wrap", [lambda net: net, nn.Sequential, lambda net: nn.ModuleDict({"deep": nn.Sequential(net)})]
)
def test_modes_survive_train_and_eval_from_any_level(wrap) -> None:
    network = Zoo()
    network.freeze(["second"])
    outer = wrap(network)
    for _ in range(2):
        outer.eval()
        assert modes(network) == {False}
        outer.train()
        assert (modes(network.first), modes(network.second), modes(network.extra)) == ({True}, {False}, {False})


def test_freezing_in_evaluation_mode_keeps_it() -> None:
    network = Zoo().eval()
    network.freeze(["first"])
    assert modes(network) == {False}
    network.freeze([])
    assert modes(network) == {False}


def test_freezing_replaces_the_former_choice() -> None:
    network = Zoo()
    network.freeze(["head", "first"])
    assert network.frozen_stages == ("first", "head"), "in network order"
    network.freeze(("second",))
    assert network.frozen_stages == ("second",)
    assert modes(network.first) == {True}
    assert network.out.weight.requires_grad
    network.freeze(())
    assert network.frozen_stages == ()
    assert modes(network) == {True}
    assert trainable(network) == [name for name, _ in network.named_parameters()]


def test_left_over_gradients_are_dropped() -> None:
    network = Zoo()
    network(torch.randn(2, 1, 3, 3, 3)).sum().backward()
    network.freeze(["first"])
    assert all(parameter.grad is None for parameter in network.first.parameters())
    assert network.out.weight.grad is not None


def test_unknown_stage_changes_nothing() -> None:
    network = Zoo()
    network.freeze(["first"])
    with pytest.raises(
        ConfigError, match=r"'zoo' has no stage 'third'; expected one of first, second, head, got third"
    ):
        network.freeze(["second", "third"])
    assert network.frozen_stages == ("first",)
    assert network.second[0].weight.requires_grad
    with pytest.raises(ConfigError, match="no stage"):
        network.freeze("first")  # a string is not a list of stages


def test_head_is_the_last_stage() -> None:
    assert Zoo().head == "head"
    assert [list(build_network(name).stages)[-1] for name in ("unet", "highres3dnet")] == ["head", "head"]


def test_stage_of_a_tensor() -> None:
    network = Zoo()
    assert network.stage_of("extra.running_mean") == "second"
    assert network.stage_of("out.bias") == "head"
    with pytest.raises(ConfigError, match=r"'outer\.bias' of 'zoo' is in no stage"):
        network.stage_of("outer.bias")
    highres = build_network("highres3dnet")
    assert highres.stage_of("blocks.1.layers.0.N.weight") == "dilation1", "blocks.1 is not blocks.10"
    assert highres.stage_of("blocks.10.conv.weight") == "neck"
    for name in highres.state_dict():
        highres.stage_of(name)


def test_set_dropout() -> None:
    network = Zoo()
    set_dropout(network, 0.25)
    dropouts = [layer for layer in network.modules() if isinstance(layer, nn.Dropout | nn.Dropout3d | nn.AlphaDropout)]
    assert [layer.p for layer in dropouts] == [0.25] * 6
    assert network.dropout == 0.25
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="dropout"):
            set_dropout(network, wrong)


def test_parameter_count_leaves_buffers_out() -> None:
    layer = nn.Sequential(nn.Conv3d(2, 3, (3, 2, 1)), nn.BatchNorm3d(3))
    assert parameter_count(layer) == 2 * 3 * 6 + 3 + 3 + 3
