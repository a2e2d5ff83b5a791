"""Adapters of every method: nothing at the start, alone in training, merged without a trace."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from peft_toy import (
    LAYERS,
    METHODS,
    MIXED,
    NETWORKS,
    Toy,
    disturb,
    layer,
    mixed_body,
    network_of,
    relative,
    same,
    snapshot,
    wrapped_toy,
)
from torch import nn
from torch.nn.utils import parametrizations

from medtl_monai.errors import ConfigError
from medtl_monai.networks.slicewise import SlicewiseViTEncoder
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.transfer import bitfit, lora, peft, ssf

EACH = pytest.mark.parametrize("method", METHODS)
NO_BIAS = {"linear without bias", "conv2d dilated", "conv3d without bias"}
NOTHING = {"lora": {name for name in LAYERS if "norm" in name}, "ssf": NO_BIAS, "bitfit": NO_BIAS}


@EACH
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_starts_as_it_was_and_merges_exactly(method: str, name: str) -> None:
    network, plain, image = layer(name)
    whole = copy.deepcopy(network)
    before = snapshot(network)
    if name in NOTHING[method]:
        with pytest.raises(ConfigError, match="finds nothing to adapt"):
            METHODS[method].wrap(network)
        assert same(snapshot(network), before)
        return
    if method == "lora":
        lora.wrap(network, rank=2)  # the layers are small
    else:
        METHODS[method].wrap(network)
    with torch.no_grad():
        assert torch.equal(network.body(image), plain(image)), "bit for bit at the start"
        disturb(network)
        trained = network.body(image)
        assert relative(trained, plain(image)) > 1e-3, "the adapters are in use"
        merged = peft.merged_state(network)
        assert [(n, t.shape, t.dtype) for n, t in merged.items()] == [(n, t.shape, t.dtype) for n, t in before.items()]
        whole.load_state_dict(merged)
        assert relative(whole.body(image), trained) <= 1e-5


@EACH
@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks(method: str, name: str) -> None:
    network, twin = network_of(name).eval(), network_of(name).eval()
    image = torch.rand(NETWORKS[name])
    plain = [(n, t.shape, t.dtype) for n, t in network.state_dict().items()]
    METHODS[method].wrap(network)
    with torch.no_grad():
        assert relative(network(image), twin(image)) <= 1e-6
        for adapter in peft.adapters(network).values():
            for parameter in adapter.parameters():
                parameter.add_(0.02 * torch.rand(parameter.shape))
        trained, untrained = network(image), twin(image)
        merged = peft.merged_state(network)
        assert [(n, t.shape, t.dtype) for n, t in merged.items()] == plain
        twin.load_state_dict(merged)
        assert relative(twin(image), trained) <= 1e-5
        assert relative(untrained, trained) > 1e-4
        peft.unwrap(network)
        assert same(snapshot(network), merged)
        assert torch.equal(network(image), twin(image))


@EACH
def test_a_copy_and_the_original_are_unwrapped_apart(method: str) -> None:
    """torch's own remove_parametrizations on the copy breaks the original: both share the class with the property."""
    network = wrapped_toy(method).eval()
    disturb(network)
    image = torch.randn(MIXED)
    with torch.no_grad():
        wanted = network(image)
        twin = copy.deepcopy(network)
        peft.unwrap(twin)
        assert torch.equal(network(image), wanted)
        disturb(network, seed=2)
        assert not torch.equal(network(image), wanted)
        assert torch.equal(twin(image), wanted)
    assert peft.adapters(network)
    assert not peft.adapters(twin)


@EACH
def test_unwrapped_is_plain_in_every_respect(method: str) -> None:
    network = wrapped_toy(method)
    plain = Toy(mixed_body())
    parameters = {id(p) for p in plain.parameters()}
    METHODS[method].wrap(plain)
    peft.unwrap(plain)
    peft.unwrap(plain)  # nothing is left to do
    peft.unwrap(network)
    assert {id(p) for p in plain.parameters()} == parameters, "the very parameters from before"
    assert [type(m) for m in network.modules()] == [type(m) for m in Toy(mixed_body()).modules()]
    assert network.frozen_stages == ("stage1",)
    assert not network.body[0].weight.requires_grad
    twin = Toy(mixed_body()).eval()
    twin.load_state_dict(network.state_dict())
    image = torch.randn(MIXED)
    scripted = torch.jit.script(network.eval())
    assert torch.equal(scripted(image), twin(image))
    METHODS[method].wrap(network)  # and it can be wrapped again
    assert torch.equal(network.eval()(image), twin(image))


def test_merged_state_of_a_plain_network_is_a_copy() -> None:
    network = Toy(mixed_body())
    state = peft.merged_state(network)
    assert same(state, snapshot(network))
    with torch.no_grad():
        network.class_head.weight.add_(1)
    assert not torch.equal(state["class_head.weight"], network.class_head.weight)


@pytest.mark.parametrize(
    ("method", "added"),
    [
        # weights: 2->8, k 27 without bias; 8->8, k 27; transposed 8->8, k 8
        ("lora", 4 * (8 + 2 * 27) + 4 * (8 + 8 * 27) + 4 * (8 + 8 * 8)),
        ("ssf", 4 * 2 * 8),  # batch norm, convolution, group norm, transposed convolution
        ("bitfit", 4 * 8),
    ],
)
def test_how_much_trains(method: str, added: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="medtl_monai.transfer.peft"):
        network = wrapped_toy(method)
    share = peft.trainable_share(network)
    total = sum(p.numel() for p in Toy(mixed_body()).parameters())
    assert (share.adapters, share.trainable, share.total) == (added, added + 2 * 8 + 2, total)
    assert share.fraction == pytest.approx((added + 18) / total)
    assert str(share) in caplog.text


def test_what_is_passed_over_is_told() -> None:
    network = Toy(mixed_body())
    assert peft.passed_over(network, bitfit.rule) == {"body.0": "it has no bias"}
    assert list(peft.passed_over(network, ssf.rule)) == ["body.0"]
    assert peft.passed_over(network, lora.rule()) == {}
    shared = Toy(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)))
    shared.body[1].weight = shared.body[0].weight
    assert peft.passed_over(shared, lora.rule(rank=2)) == dict.fromkeys(
        ("body.0", "body.1"), "it shares its tensor with another layer"
    )
    other = Toy(nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)), nn.Linear(8, 8)))
    lora.wrap(other, rank=2)
    assert set(peft.adapters(other)) == {"body.1.parametrizations.weight.0"}
    plain = Toy(nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)), nn.Linear(8, 8)))
    assert list(peft.merged_state(other)) == list(plain.state_dict()), "and the stranger is kept"
    single = Toy(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    single.stages = {"stem": ("body.0.weight", "body.0.bias"), "stage1": ("body.1",), "head": ("class_head",)}
    assert peft.passed_over(single, lora.rule(rank=2)) == {"body.0": "a stage names its tensor, not the layer"}


def test_mistakes_are_named() -> None:
    network = wrapped_toy("ssf")
    with pytest.raises(ConfigError, match="wrapped already; expected bitfit, got ssf; `unwrap` it first"):
        bitfit.wrap(network)
    lora_network = wrapped_toy("lora")
    with pytest.raises(ConfigError, match="expected lora of rank 2, alpha 2, got lora of rank 4, alpha 4"):
        lora.wrap(lora_network, rank=2)
    for method in METHODS.values():
        with pytest.raises(ConfigError, match="not wrapped"):
            method.groups(Toy(mixed_body()), 0.1, 0.0)
        with pytest.raises(ConfigError, match=r"finds nothing to adapt in 'toy'; expected .* outside the stages head"):
            method.wrap(Toy(nn.ReLU()))


def test_the_slicewise_vit_too() -> None:
    plain = network_of("vit")
    network = TransferClassifier(plain.encoder)
    network.encoder = SlicewiseViTEncoder(plain.encoder)
    network.encoder.adapter = nn.Identity()
    names = list(network.state_dict())
    lora.wrap(network, rank=2)
    assert any("self_attention.parametrizations.in_proj_weight" in name for name in peft.adapters(network))
    assert list(peft.merged_state(network)) == names


class Twice(nn.Module):
    """One layer under two names, as MONAI's DynUNet registers its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(8, 8, 3, padding=1)
        self.second = self.first

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(image))


@EACH
def test_a_layer_under_two_names(method: str) -> None:
    network, plain = Toy(Twice()), Toy(Twice())
    METHODS[method].wrap(network)
    disturb(network)
    image = torch.randn(1, 8, 4, 4, 4)
    merged = peft.merged_state(network)
    assert list(merged) == list(plain.state_dict())
    plain.load_state_dict(merged)
    assert relative(plain(image), network(image)) <= 1e-5
    peft.unwrap(network)
    assert same(snapshot(network), merged)
