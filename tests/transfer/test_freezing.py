"""Frozen means frozen: bit for bit, through real training; MONAI's way beside it drifts."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.networks.utils import freeze_layers
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.strategy import build_optimizer

STEPS = 3
Snapshot = dict[str, torch.Tensor]
Train = Callable[[nn.Module, torch.optim.Optimizer], None]


def batches() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": 3.0 + 2.0 * torch.randn(2, 1, 6, 7, 8, generator=generator),  # far from the initial statistics
            "label": torch.randint(0, 2, (2, 6, 7, 8), generator=generator),
        }
        for _ in range(STEPS)
    ]


def monai_trainer(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """The engine calls network.train() before every step."""
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=batches(),
        network=network,
        optimizer=optimizer,
        loss_function=nn.CrossEntropyLoss(),
        decollate=False,
    ).run()


def plain_loop(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for batch in batches():
        network.eval()
        with torch.no_grad():
            network(batch["image"])
        network.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch["image"]), batch["label"]).backward()
        optimizer.step()


TRAINERS = pytest.mark.parametrize("train", [monai_trainer, plain_loop])
NETWORKS = pytest.mark.parametrize("name", ["highres3dnet", "unet"])


def snapshot(network: nn.Module) -> Snapshot:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: Snapshot) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def in_stages(network: StagedNetwork, stages: tuple[str, ...]) -> set[str]:
    return {name for name in network.state_dict() if network.stage_of(name) in stages}


@TRAINERS
@NETWORKS
def test_linear_probe_trains_the_head_and_nothing_else(name: str, train: Train) -> None:
    network = build_network(name, dropout=0.5)
    optimizer = build_optimizer(network, strategy="linear_probe", lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    assert changed(network, before) == in_stages(network, ("head",)), "all of the head, nothing else"
    assert all(p.grad is None for p in network.parameters() if not p.requires_grad)


@TRAINERS
def test_monai_freeze_layers_drifts_on_the_same_network(train: Train) -> None:
    """The defect that StagedNetwork is for; if this fails, MONAI has repaired it."""
    network = build_network("highres3dnet")
    freeze_layers(network, exclude_vars=r"^blocks\.11\.")
    before = snapshot(network)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    train(network, torch.optim.AdamW(trained, lr=0.01))
    drifted = changed(network, before) - in_stages(network, ("head",))
    statistics = {n for n in before if n.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert drifted == statistics
    assert (
        network.state_dict()["blocks.0.adn.N.running_mean"] - before["blocks.0.adn.N.running_mean"]
    ).abs().max() > 0.05


def freeze_in_2d(network: nn.Module, frozen: Callable[[str], bool]) -> None:
    """The rule of timm's freeze: no gradient, and BatchNorm2d alone becomes a layer of constants."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not frozen(name))
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d) and frozen(f"{name}."):
            parent, _, child = name.rpartition(".")
            constant = FrozenBatchNorm2d(module.num_features)
            constant.load_state_dict(module.state_dict())
            setattr(network.get_submodule(parent), child, constant)


@TRAINERS
def test_a_freeze_for_2d_drifts_in_3d(train: Train) -> None:
    """timm's rule on a network whose norm layers are BatchNorm3d."""
    network = build_network("highres3dnet")
    freeze_in_2d(network, lambda name: not name.startswith("blocks.11."))
    before = snapshot(network)
    train(network, torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01))
    drifted = changed(network, before) - in_stages(network, ("head",))
    assert drifted == {n for n in before if n.endswith(("running_mean", "running_var", "num_batches_tracked"))}


@TRAINERS
@pytest.mark.parametrize(
    ("name", "stage"), [("highres3dnet", "dilation2"), ("unet", "down3"), ("unet_medicalnet_resnet10", "layer2")]
)
def test_freeze_to_a_stage_through_a_training(name: str, stage: str, train: Train) -> None:
    network = build_network(name, dropout=0.3)
    optimizer = build_optimizer(network, strategy=f"freeze_to_{stage}", lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    stages = list(network.stages)
    kept = in_stages(network, tuple(stages[: stages.index(stage) + 1]))
    assert kept
    assert changed(network, before) == set(before) - kept, "bit for bit, norm statistics included"


@TRAINERS
@pytest.mark.parametrize("strategy", ["scratch", "fine_tune", "llrd", "l2_sp"])
def test_everything_moves_where_nothing_is_frozen(strategy: str, train: Train) -> None:
    network = build_network("highres3dnet")
    network.freeze(network.stages)
    optimizer = build_optimizer(network, strategy=strategy, lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    assert changed(network, before) == set(before)


@TRAINERS
def test_any_stages_can_be_frozen(train: Train) -> None:
    network = build_network("highres3dnet")
    frozen = ("stem", "dilation2")
    network.freeze(frozen)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01)
    before = snapshot(network)
    train(network, optimizer)
    assert changed(network, before) == set(before) - in_stages(network, frozen)


@NETWORKS
def test_dropout_of_frozen_stages_is_off(name: str) -> None:
    network = build_network(name, dropout=0.5)
    network.freeze([stage for stage in network.stages if stage != "head"])
    image = batches()[0]["image"]
    with torch.no_grad():
        frozen = network.train()(image), network.train()(image), network.eval()(image)
        network.freeze([])
        free = network.train()(image), network.train()(image)
    assert torch.equal(frozen[0], frozen[1])
    assert torch.equal(frozen[0], frozen[2])
    assert not torch.equal(*free)


def reloaded(network: StagedNetwork) -> StagedNetwork:
    stream = io.BytesIO()
    torch.save(network, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)  # written two lines above


@pytest.mark.parametrize("copied", [copy.deepcopy, reloaded])
@NETWORKS
def test_copies_are_frozen_too(name: str, copied: Callable[[StagedNetwork], StagedNetwork]) -> None:
    network = build_network(name, dropout=0.5)
    network.freeze(["stem"])
    twin = copied(network)
    assert twin.frozen_stages == ("stem",)
    before = snapshot(twin)
    plain_loop(twin, torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=0.01))
    assert changed(twin, before) == set(before) - in_stages(twin, ("stem",))
    assert changed(network, before) == set(), "the original is another network"


def test_a_state_dict_of_a_trained_network_loads_into_a_frozen_one() -> None:
    network, other = build_network("highres3dnet"), build_network("highres3dnet", seed=1)
    network.freeze(["stem"])
    network.load_state_dict(other.state_dict())
    assert changed(network, snapshot(other)) == set()
    assert not network.train().blocks[0].adn.N.training


@NETWORKS
def test_unfrozen_stages_train_again(name: str) -> None:
    network = build_network(name)
    monai_trainer(network, build_optimizer(network, strategy="linear_probe", lr=0.01))
    optimizer = build_optimizer(network, strategy="fine_tune", lr=0.01)
    before = snapshot(network)
    monai_trainer(network, optimizer)
    assert changed(network, before) == set(before)


def test_a_left_over_gradient_moves_nothing() -> None:
    """AdamW steps on every parameter that has a gradient, also without requires_grad."""
    network = build_network("highres3dnet")
    optimizer = build_optimizer(network, strategy="fine_tune", lr=0.01)
    plain_loop(network, optimizer)
    network.freeze(["dilation1"])
    before = snapshot(network)
    optimizer.step()  # the gradients and moments of the loop's last step are still there
    kept = in_stages(network, ("dilation1",))
    parameters = {name for name, _ in network.named_parameters()}
    assert changed(network, before) == parameters - kept
    plain_loop(network, optimizer)
    assert changed(network, before) == set(before) - kept
