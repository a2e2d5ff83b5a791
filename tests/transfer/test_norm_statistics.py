"""Batch norm statistics taken from target images, against statistics computed directly."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.norm_statistics import reestimate_norm
from medtl_monai.weights.inflation import inflate_centre, inflate_mean


class _Small(StagedNetwork):
    """Two convolutions with batch norm and dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3)
        self.norm = nn.BatchNorm3d(4, momentum=0.3)
        self.dropout_layer = nn.Dropout(0.5)
        self.deep = nn.Sequential(nn.Conv3d(4, 2, 1), nn.BatchNorm3d(2))
        self.stages = {"stem": ("conv", "norm"), "deep": ("deep",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.deep(self.dropout_layer(torch.relu(self.norm(self.conv(image)))))


def _different_batches() -> list[torch.Tensor]:
    """Batches of unlike mean, spread and size."""
    torch.manual_seed(3)
    shapes = [(2, 1, 8, 7, 6), (1, 1, 9, 9, 9), (3, 1, 5, 6, 7)]
    return [torch.randn(shape) * (index + 1) + 4 * index for index, shape in enumerate(shapes)]


def _exact(conv: nn.Module, batches: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        values = torch.cat([conv(batch).transpose(0, 1).flatten(1) for batch in batches], dim=1).double()
    return values.mean(1).float(), values.var(1).float()


def _close(norm: nn.BatchNorm3d, conv: nn.Module, batches: list[torch.Tensor]) -> bool:
    mean, variance = _exact(conv, batches)
    return bool(torch.allclose(norm.running_mean, mean, rtol=1e-5) and torch.allclose(norm.running_var, variance))


def test_statistics_are_those_of_all_voxels() -> None:
    network, batches = _Small(), _different_batches()
    reestimate_norm(network, iter(batches))
    assert _close(network.norm, network.conv, batches)
    assert int(network.norm.num_batches_tracked) == 3


def test_averaging_variances_within_batches_would_be_seen() -> None:
    network, batches = _Small(), _different_batches()
    update_bn(batches, network)
    assert not _close(network.norm, network.conv, batches)


def test_a_large_mean_does_not_cancel() -> None:
    network = nn.Sequential(nn.BatchNorm3d(1))
    torch.manual_seed(0)
    batches = [torch.randn(1, 1, 20, 20, 20) + 1000 for _ in range(3)]
    reestimate_norm(network, batches)
    assert float(network[0].running_var) == pytest.approx(float(torch.cat(batches).double().var()), rel=1e-5)


def test_one_batch_through_evaluation_mode_is_then_normalised_in_every_layer() -> None:
    network, batch = _Small(), torch.randn(2, 1, 40, 40, 40)  # many: running variances divide by n - 1, not by n
    reestimate_norm(network, [batch])
    features = network.eval()(batch)
    torch.testing.assert_close(features.mean((0, 2, 3, 4)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std((0, 2, 3, 4)), torch.ones(2), atol=5e-3, rtol=0)


def test_dropout_stays_off() -> None:
    first, batches = _Small(), _different_batches()
    second = copy.deepcopy(first)
    reestimate_norm(first, batches)
    reestimate_norm(second, batches)
    assert torch.equal(first.deep[1].running_var, second.deep[1].running_var)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("frozen", [(), ("stem",), ("stem", "deep")])
def test_only_the_statistics_change(mode: bool, frozen: tuple[str, ...]) -> None:
    network, batches = _Small(), _different_batches()
    network.freeze(frozen)
    network.train(mode)
    modes = [module.training for module in network.modules()]
    needs = [parameter.requires_grad for parameter in network.parameters()]
    before = copy.deepcopy(network.state_dict())
    reestimate_norm(network, batches)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    kinds = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"{layer}.{kind}" for layer in ("norm", "deep.1") for kind in kinds}
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == needs
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.norm.momentum == 0.3
    assert network.norm.track_running_stats
    assert not network.norm._forward_pre_hooks


def test_no_more_batches_than_asked_for() -> None:
    network, batches = _Small(), _different_batches()
    source = iter(batches)
    reestimate_norm(network, source, max_batches=2)
    assert _close(network.norm, network.conv, batches[:2])
    assert next(source) is batches[2]


@pytest.mark.parametrize(
    ("network", "batches", "error", "words"),
    [
        (nn.Sequential(nn.Conv3d(1, 1, 1), nn.InstanceNorm3d(1)), [torch.ones(1, 1, 4, 4, 4)], ConfigError, "no batch"),
        (nn.BatchNorm3d(1, track_running_stats=False), [torch.ones(1, 1, 4, 4, 4)], ConfigError, "no batch norm"),
        (nn.BatchNorm3d(1), [], ConfigError, "no batch to estimate"),
        (nn.BatchNorm3d(1), [torch.ones(1, 1, 1, 1, 1)], ConfigError, "single voxel"),
        (nn.BatchNorm3d(1), [torch.full((1, 1, 2, 2, 2), math.nan)], IntensityError, "not finite"),
    ],
)
def test_what_gives_no_statistics_is_refused_and_nothing_changes(
    network: nn.Module, batches: list[torch.Tensor], error: type[Exception], words: str
) -> None:
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(error, match=words):
        reestimate_norm(network, batches)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(module.training for module in network.modules())


def test_mean_inflation_shrinks_noise_and_reestimation_undoes_it() -> None:
    torch.manual_seed(1)
    weight = torch.randn(8, 1, 3, 3)
    volumes = [torch.randn(1, 1, 24, 24, 24) for _ in range(4)]
    spreads = {}
    networks = {}
    for name, inflate in (("mean", inflate_mean), ("centre", inflate_centre)):
        conv = nn.Conv3d(1, 8, 3, bias=False)
        conv.weight = nn.Parameter(inflate(weight, 3))
        networks[name] = nn.Sequential(conv, nn.BatchNorm3d(8)).eval()
        spreads[name] = float(_exact(conv, volumes)[1].sqrt().mean())
    assert spreads["mean"] / spreads["centre"] == pytest.approx(1 / math.sqrt(3), rel=0.02)

    network = networks["mean"]
    reestimate_norm(networks["centre"], volumes)  # the statistics that the 2D network would bring along
    network[1].load_state_dict(networks["centre"][1].state_dict())
    with torch.no_grad():
        before = torch.cat([network(volume) for volume in volumes]).std((0, 2, 3, 4))
        reestimate_norm(network, volumes)
        after = torch.cat([network(volume) for volume in volumes]).std((0, 2, 3, 4))
    assert float(before.mean()) == pytest.approx(1 / math.sqrt(3), rel=0.02)
    torch.testing.assert_close(after, torch.ones(8), atol=1e-3, rtol=0)
