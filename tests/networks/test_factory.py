"""Networks by name: reproducible, without a trace in the global random state; and the ``network`` knob."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import NETWORKS, build_network, select_network
from medtl_monai.networks.highresnet import HighRes3DNet
from medtl_monai.networks.unet import SmallUNet

NAMES = ["highres3dnet", "unet", "unet_squeezenet1_0_i3d"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_names_that_configurations_use() -> None:
    assert set(NAMES) <= set(NETWORKS)


@pytest.mark.parametrize("name", NAMES)
def test_built_as_asked(name: str) -> None:
    network = build_network(name, in_channels=2, out_channels=4, dropout=0.25)
    assert (network.architecture, network.in_channels, network.out_channels, network.dropout) == (name, 2, 4, 0.25)
    drops = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout3d)]
    assert drops
    assert set(drops) == {0.25}
    with torch.no_grad():
        assert network(torch.randn(1, 2, 6, 7, 8)).shape == (1, 4, 6, 7, 8)


@pytest.mark.parametrize("name", NAMES)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = build_network(name, seed=5)
    torch.manual_seed(2)
    assert same_weights(first, build_network(name, seed=5))
    assert not same_weights(first, build_network(name, seed=6))


@pytest.mark.parametrize(("name", "make"), [("unet", SmallUNet), ("highres3dnet", HighRes3DNet)])
def test_the_seed_means_what_torch_means_by_it(name: str, make: Callable[[int, int], nn.Module]) -> None:
    torch.manual_seed(5)
    assert same_weights(build_network(name, seed=5), make(1, 2))


@pytest.mark.parametrize("name", NAMES)
def test_global_random_state_is_left_alone(name: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    build_network(name, seed=3)
    select_network(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_accelerators_are_not_reseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """fork_rng(devices=[]) restores the CPU generator alone, so nothing may seed the others."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(1)
    assert seeded == [1], "torch.manual_seed would"
    build_network("unet", seed=3)
    assert seeded == [1]


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"one of 215 names, such as .*highres3dnet.*, got resnet"):
        build_network("resnet")


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(ConfigError, match="dropout probability out of range"):
        build_network("unet", dropout=dropout)


def test_a_name_is_built() -> None:
    network = select_network("highres3dnet", out_channels=3, dropout=0.1, seed=4)
    assert same_weights(network, build_network("highres3dnet", out_channels=3, seed=4))
    with pytest.raises(ConfigError, match="unknown network"):
        select_network("nothing")


def test_a_network_that_fits_is_passed_on() -> None:
    network = build_network("unet", in_channels=2, out_channels=3, dropout=0.2, seed=9)
    assert select_network(network, in_channels=2, out_channels=3, dropout=0.2, seed=1) is network
    foreign = nn.Conv3d(1, 5, 1)
    assert select_network(foreign, out_channels=3) is foreign


@pytest.mark.parametrize("changed", [{"in_channels": 2}, {"out_channels": 5}, {"dropout": 0.3}])
def test_a_network_of_another_shape_is_built_anew(changed: dict[str, float]) -> None:
    network = build_network("highres3dnet", out_channels=3, seed=9)
    wanted = {"in_channels": 1, "out_channels": 3, "dropout": 0.0, **changed}
    selected = select_network(network, **wanted, seed=2)
    assert selected is not network
    assert same_weights(selected, build_network("highres3dnet", **wanted, seed=2))
