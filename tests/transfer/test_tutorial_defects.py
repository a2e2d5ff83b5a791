"""What common transfer-learning tutorials get wrong about freezing: planted as they do it, and how it goes here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.strategy import build_optimizer

NAME = "classifier_resnet18"
Snapshot = dict[str, torch.Tensor]


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 48, 48, generator=torch.Generator().manual_seed(seed))


def snapshot(network: nn.Module) -> Snapshot:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def moved_stages(network: StagedNetwork, before: Snapshot) -> set[str]:
    return {network.stage_of(n) for n, tensor in network.state_dict().items() if not torch.equal(tensor, before[n])}


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for step in range(steps):
        network.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images(seed=step)), torch.tensor([0, 1, 1, 0])).backward()
        optimizer.step()


def trainable(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01)


def test_t1_only_the_head_trains() -> None:
    """The tutorial freezes the first ten layers and says that only the new layer trains."""
    network = build_network(NAME)
    layers = [module for module in network.encoder.modules() if not list(module.children())]
    for layer in layers[:10]:
        layer.requires_grad_(False)
    before = snapshot(network)
    free = sum(p.numel() for p in network.encoder.parameters() if p.requires_grad)
    assert free / sum(p.numel() for p in network.encoder.parameters()) > 0.98
    train(network, trainable(network))
    assert {"layer2", "layer3", "layer4", "head"} <= moved_stages(network, before)

    network = build_network(NAME)
    optimizer = build_optimizer(network, strategy="linear_probe", lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    assert moved_stages(network, before) == {"head"}


def test_t4_last_stage_and_head() -> None:
    """The tutorial replaces the head, freezes all, and frees the last stage: the new head stays random for ever."""
    network = build_network(NAME)
    network.class_head[1] = nn.Linear(512, 2)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for parameter in network.stage_parameters("layer4"):
        parameter.requires_grad_(True)
    before = snapshot(network)
    train(network, trainable(network))
    assert torch.equal(network.class_head[1].weight, before["class_head.1.weight"])
    assert moved_stages(network, before) > {"layer4"}, "and the statistics of the frozen norm layers drift"

    optimizer = build_optimizer(network, strategy="freeze_to_layer3", lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    assert moved_stages(network, before) == {"layer4", "head"}
    assert not torch.equal(network.class_head[1].weight, before["class_head.1.weight"])


@pytest.mark.parametrize(
    "strategy", ["scratch", "fine_tune", "linear_probe", "freeze_to_layer4", "llrd", "gradual_unfreeze", "l2_sp", "bss"]
)
def test_t4_the_new_head_trains_under_every_strategy(strategy: str) -> None:
    network = build_network(NAME)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    optimizer = build_optimizer(network, strategy=strategy, lr=0.01)
    before = snapshot(network)
    train(network, optimizer, steps=1)
    assert "head" in moved_stages(network, before)
    for name in ("class_head.1.weight", "class_head.1.bias"):
        assert not torch.equal(network.state_dict()[name], before[name])


def test_t0_features_of_a_scan_do_not_depend_on_its_companions() -> None:
    """The tutorial extracts features in training mode: batch norm mixes the scans of a batch, test scans among them."""
    network = build_network(NAME)
    for parameter in network.encoder.parameters():
        parameter.requires_grad_(False)
    network.train()
    with torch.no_grad():
        alone, among = network.features(images())[:2], network.features(images()[:2])
    assert (alone - among).abs().max() > 0.05 * alone.abs().max()

    build_optimizer(network, strategy="linear_probe", lr=0.01)
    network.train()
    before = snapshot(network)
    with torch.no_grad():
        alone, among, evaluated = (
            network.features(images())[:2],
            network.features(images()[:2]),
            network.eval().features(images()[:2]),
        )
    torch.testing.assert_close(alone, among, rtol=1e-4, atol=1e-5)
    assert torch.equal(among, evaluated), "training mode or not, frozen features are the same"
    assert moved_stages(network, before) == set(), "looking at a scan leaves no trace in the statistics"


def test_t4b_one_scan_is_a_batch_of_one() -> None:
    """The tutorial squeezes pooled features, which drops the batch axis of a single scan, and keeps a graph."""
    network = build_network(NAME)
    build_optimizer(network, strategy="linear_probe", lr=0.01)
    network.train()
    pooled = nn.functional.adaptive_avg_pool2d(network.encoder(images(1))[-1], 1)
    assert pooled.squeeze().shape == (512,)
    features = network.features(images(1))
    assert features.shape == (1, 512)
    assert torch.equal(features.flatten(), pooled.squeeze()) or torch.allclose(features.flatten(), pooled.squeeze())
    assert not features.requires_grad, "nothing of the encoder is kept for a backward pass"
    assert network(images(1)).requires_grad


def test_t0_the_head_takes_features_not_logits() -> None:
    network = build_network(NAME).eval()
    features = network.features(images())
    assert features.shape == (4, 512)
    assert torch.equal(network.class_head(features), network(images()))
