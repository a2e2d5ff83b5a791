"""Moving averages against their closed forms."""

from __future__ import annotations

import io

import pytest
import torch
from peft_toy import conv_network, walk
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.transfer.average import MovingAverage, warm_decay
from medtl_monai.transfer.peft import merged_state


def test_the_warm_up_is_that_of_timm() -> None:
    """Its ModelEmaV3 gives .954, .990 and .998 at these steps."""
    assert [round(warm_decay(t, 0.9999), 3) for t in (0, 100, 1000, 10000)] == [0.0, 0.954, 0.99, 0.998]
    assert warm_decay(10**9, 0.9999) == 0.9999
    assert warm_decay(1000, 0.5) == 0.5


def test_parameters_are_averaged_and_buffers_copied() -> None:
    network, generator = conv_network(), torch.Generator().manual_seed(1)
    average = MovingAverage(network, decay=0.8)
    walk(network, generator)
    history = []
    for _ in range(30):
        walk(network, generator)
        average.update(network)
        history.append({name: tensor.double().clone() for name, tensor in network.state_dict().items()})
    parameters = {name for name, _ in network.named_parameters()}
    with average.applied(network):
        applied = merged_state(network)
    for name, tensor in applied.items():
        wanted = history[0][name]  # the first decay is 0: the start does not count
        for t in range(1, 30):
            decay = min(0.8, 1 - (1 + t) ** (-2 / 3))
            wanted = decay * wanted + (1 - decay) * history[t][name]
        wanted = wanted if name in parameters else history[-1][name]
        assert torch.allclose(tensor.double(), wanted, rtol=1e-5, atol=1e-6), name
    assert average.updates == 30


def test_the_own_weights_come_back_bit_by_bit() -> None:
    network, generator = conv_network(), torch.Generator().manual_seed(1)
    average = MovingAverage(network)
    for _ in range(3):
        walk(network, generator)
        average.update(network)
    own = merged_state(network)
    places = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="validation broke"), average.applied(network) as applied:  # noqa: PT012
        assert applied is network
        assert not torch.equal(network[0].weight, own["0.weight"])
        raise RuntimeError("validation broke")
    assert all(torch.equal(tensor, own[name]) for name, tensor in network.state_dict().items())
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == places
    average.update(network)  # and it goes on


def test_frozen_weights_stay_the_same_in_every_bit() -> None:
    network, generator = conv_network(), torch.Generator().manual_seed(1)
    average = MovingAverage(network, decay=0.9)
    still = network[0].weight.detach().clone()
    for _ in range(200):
        with torch.no_grad():
            network[3].weight.add_(0.1 * torch.randn(network[3].weight.shape, generator=generator))
        average.update(network)
    with average.applied(network):
        assert torch.equal(network[0].weight, still)


def test_half_precision_weights_are_averaged_in_single() -> None:
    """In bfloat16 a step of 0.1 % towards 2 from 1 is lost, for ever."""
    network = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average = MovingAverage(network, decay=0.999)
    average.updates = 10**6
    with torch.no_grad():
        network.weight.fill_(2.0)
    for _ in range(1000):
        average.update(network)
    with average.applied(network):
        assert float(network.weight.detach()) == pytest.approx(2 - 0.999**1000, abs=0.01)


def test_a_resumed_average_is_the_same() -> None:
    whole, halved = conv_network(), conv_network()
    one, two = MovingAverage(whole), MovingAverage(halved)
    generators = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for step in range(10):
        if step == 5:
            stream = io.BytesIO()
            torch.save(two.state_dict(), stream)
            stream.seek(0)
            two = MovingAverage(conv_network(seed=9))
            two.load_state_dict(torch.load(stream, weights_only=True))
        for network, average, generator in ((whole, one, generators[0]), (halved, two, generators[1])):
            walk(network, generator)
            average.update(network)
    assert one.updates == two.updates == 10
    for key in ("averages", "buffers"):
        assert all(torch.equal(t, two.state_dict()[key][n]) for n, t in one.state_dict()[key].items())


def test_mistakes_with_averages_are_named() -> None:
    network = conv_network()
    average = MovingAverage(network)
    with average.applied(network):
        with pytest.raises(ConfigError, match="holds its averaged weights"):
            average.update(network)
        with pytest.raises(ConfigError, match="holds its averaged weights"), average.applied(network):
            pass
    with pytest.raises(ConfigError, match="not the one that this average began with"):
        average.update(network[0])
    with pytest.raises(WeightsError, match="not of one network"):
        average.load_state_dict(MovingAverage(network[0]).state_dict())
    assert average.updates == 0
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="decay of the moving average out of range"):
            MovingAverage(network, decay)
