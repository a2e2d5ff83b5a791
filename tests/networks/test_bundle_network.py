"""Any MONAI bundle as a source: its body loads whole, the head is new, and frozen means frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.bundle_network import BundleNetwork, bundle_candidate, bundle_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.weights.load import LoadReport, fill_network, match_state
from medtl_monai.weights.read import read_state
from tests.networks.zoo_bundles import EINOPS, IN_3D, NETWORKS, UNET, ZOO, trained_in_monai, write_bundle

State = dict[str, torch.Tensor]
CLASSES = 3


def transfer(network: StagedNetwork, folder: Path) -> LoadReport:
    assert isinstance(network, BundleNetwork)
    state, new_head = bundle_candidate(network, read_state(folder / "models" / "model.pt"))
    report = match_state(network, state, source="model.pt", sha256="0" * 64, new_head=new_head)
    fill_network(network, state, report)
    return report


def build(folder: Path, out_channels: int = CLASSES, seed: int = 0, dropout: float = 0.0) -> StagedNetwork:
    return bundle_network(folder, in_channels=1, out_channels=out_channels, seed=seed, dropout=dropout)


def image(size: tuple[int, ...]) -> torch.Tensor:
    return torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(3))


def snapshot(network: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("target", NETWORKS)
def test_the_body_of_a_zoo_bundle_loads_whole_and_the_head_is_new(tmp_path: Path, target: str) -> None:
    arguments, size, heads, scriptable = ZOO[target]
    folder = write_bundle(tmp_path / "zoo", target, arguments)
    source = trained_in_monai(folder, target, arguments).state_dict()
    network = build(folder)
    initial = snapshot(network)
    report = transfer(network, folder)

    assert set(network.stages["head"]) == set(heads)
    assert report.body_share == 1.0
    assert report.reinitialised
    assert (report.missing, report.unexpected, report.mismatched, report.adapted) == ((), (), (), ())
    in_head = tuple(f"{head}." for head in heads)
    for name, tensor in network.state_dict().items():
        wanted = initial[name] if name.startswith(in_head) else source[name.removeprefix("net.")]
        assert torch.equal(tensor, wanted), name

    if target == "SwinUNETR" and not EINOPS:
        return
    spatial = size if target.endswith(("UNet", "UNETR", "SegResNet")) else ()
    with torch.no_grad():
        logits = network.eval()(image(size))
        assert logits.shape == (2, CLASSES, *spatial)
        if scriptable:
            assert torch.allclose(torch.jit.script(network)(image(size)), logits, atol=1e-5)


@pytest.mark.parametrize("target", ["UNet", "SegResNet", "DynUNet"])
def test_with_as_many_classes_it_is_the_published_network(tmp_path: Path, target: str) -> None:
    arguments, size, _, _ = ZOO[target]
    folder = write_bundle(tmp_path / "zoo", target, arguments)
    source = trained_in_monai(folder, target, arguments).eval()
    network = build(folder, arguments["out_channels"])
    report = transfer(network, folder)
    assert (report.reinitialised, report.dropped) == ((), ())
    with torch.no_grad():
        assert torch.equal(network.eval()(image(size)), source(image(size)))


def test_weights_of_a_trained_bundle_network_come_back(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "zoo", "UNet", UNET)
    trained = build(folder, seed=5)
    torch.save(trained.state_dict(), folder / "models" / "model.pt")
    network = build(folder, seed=6)
    assert not transfer(network, folder).reinitialised
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "zoo", "UNet", UNET)
    trained_in_monai(folder, "UNet", {**UNET, "channels": [4, 8, 32]})
    with pytest.raises(WeightsError, match="mismatched"):
        transfer(build(folder), folder)


@pytest.mark.parametrize("target", NETWORKS)
def test_every_parameter_is_in_one_stage_and_every_tensor_has_one(tmp_path: Path, target: str) -> None:
    network = build(write_bundle(tmp_path / "zoo", target, ZOO[target][0]))
    staged = [id(parameter) for stage in network.stages for parameter in network.stage_parameters(stage)]
    assert sorted(staged) == sorted(id(parameter) for parameter in network.parameters())
    heads = tuple(f"{head}." for head in network.stages["head"])
    for name in network.state_dict():
        assert (network.stage_of(name) == "head") == name.startswith(heads), name
    assert list(network.stages)[-1] == network.head == "head"


def test_stages_follow_the_children_of_the_network(tmp_path: Path) -> None:
    stages = {
        target: list(build(write_bundle(tmp_path / target, target, ZOO[target][0])).stages)
        for target in ("UNet", "DynUNet", "SegResNet", "resnet18")
    }
    assert stages == {
        "UNet": ["body", "head"],
        "DynUNet": ["input_block", "downsamples", "bottleneck", "upsamples", "head"],
        "SegResNet": ["convInit", "down_layers", "up_layers", "up_samples", "conv_final", "head"],
        "resnet18": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "head"],
    }


@pytest.mark.parametrize("target", ["UNet", "SegResNet", "DynUNet", "monai.networks.nets.BasicUNet", "resnet18"])
def test_a_frozen_body_stands_still(tmp_path: Path, target: str) -> None:
    arguments, size, _, _ = ZOO[target]
    network = build(write_bundle(tmp_path / "zoo", target, arguments))
    network.freeze([stage for stage in network.stages if stage != "head"])
    before = snapshot(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network.train()(image(size)).square().mean().backward()
        optimiser.step()
    after = network.state_dict()
    moved = {network.stage_of(name) for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"head"}


def test_frozen_stochastic_depth_stands_still(tmp_path: Path) -> None:
    arguments, size, _, _ = ZOO["EfficientNetBN"]
    network = build(write_bundle(tmp_path / "zoo", "EfficientNetBN", arguments))
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(image(size)), network(image(size)))
        network.freeze(network.stages)
        network.train()
        assert torch.equal(network(image(size)), network(image(size)))
        network.freeze([])
        assert not torch.equal(network(image(size)), network(image(size)))


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    folder = write_bundle(tmp_path / "zoo", "FlexibleUNet", {"in_channels": 1, "out_channels": 2, "pretrained": True,
                                                             "backbone": "efficientnet-b0"})  # fmt: skip
    assert build(folder).out_channels == CLASSES
    assert not (tmp_path / "hub").exists()


def test_initial_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "zoo", "UNet", UNET)
    state = torch.random.get_rng_state()
    first = snapshot(build(folder, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    second, other = snapshot(build(folder, seed=1)), snapshot(build(folder, seed=2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("target", ["UNet", "SwinUNETR"])
def test_it_can_be_built_without_memory(tmp_path: Path, target: str) -> None:
    folder = write_bundle(tmp_path / "zoo", target, ZOO[target][0])
    with torch.device("meta"):
        network = build(folder)
    assert all(tensor.is_meta for tensor in network.state_dict().values())


def test_what_the_network_says_of_itself(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "zoo", "SegResNet", {**ZOO["SegResNet"][0], "spatial_dims": 2}, (0, 1))
    network = bundle_network(folder, in_channels=4, out_channels=5, seed=0)
    assert isinstance(network, BundleNetwork)
    assert (network.architecture, network.in_channels, network.out_channels) == (f"bundle:{folder}", 4, 5)
    assert (network.spatial_dims, network.intensity, network.orientation) == (2, "unit", "RAS")
    assert network(torch.rand(1, 4, 16, 16)).shape == (1, 5, 16, 16)


@pytest.mark.parametrize("target", ["UNet", "SegResNet", "DynUNet", "SwinUNETR", "DenseNet121"])
def test_dropout_is_the_tasks_and_names_stay(tmp_path: Path, target: str) -> None:
    folder = write_bundle(tmp_path / "zoo", target, ZOO[target][0])
    without, with_dropout = build(folder), build(folder, dropout=0.3)
    assert without.state_dict().keys() == with_dropout.state_dict().keys()
    assert {layer.p for layer in without.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)} <= {0.0}
    assert {layer.p for layer in with_dropout.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)} == {0.3}
    assert (without.dropout, with_dropout.dropout) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("target", "arguments", "why"),
    [
        ("AutoencoderKL", {**IN_3D, "out_channels": 2}, "not supported"),
        ("HighResNet", {**IN_3D, "out_channels": 2}, "not supported"),
        ("monai.networks.nets.unet.SegResNet", {**IN_3D, "out_channels": 2}, "not supported"),
        ("monai.networks.nets.eval", {}, "not supported"),
        ("UNet", {**UNET, "depth": 3}, "no such arguments.*got depth"),
        ("UNet", {**UNET, "channels": [4]}, "cannot be built.*ValueError"),
        ("UNet", {"out_channels": 2}, "cannot be built.*TypeError"),
        ("resnet18", {"n_input_channels": 1, "num_classes": 2, "feed_forward": False}, "has no head"),
        ("DynUNet", {**ZOO["DynUNet"][0], "deep_supervision": True}, "several outputs"),
        ("SegResNetDS", {**IN_3D, "out_channels": 2, "dsdepth": 4}, "several outputs.*dsdepth 4"),
        ("TorchVisionFCModel", {"model_name": "resnet18", "num_classes": 2}, "expected 3 channels, got 1"),
    ],
)
def test_networks_that_do_not_fit_are_refused(tmp_path: Path, target: str, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"{why}.*inference.json"):
        build(write_bundle(tmp_path / "zoo", target, arguments))


@pytest.mark.skipif(EINOPS, reason="einops is installed")
def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)not installed.*einops"):
        build(write_bundle(tmp_path / "zoo", "UNETR", ZOO["UNETR"][0]))


def test_dropout_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "zoo", "resnet18", ZOO["resnet18"][0])
    with pytest.raises(ConfigError, match="no dropout layer"):
        build(folder, dropout=0.1)
    with pytest.raises(ConfigError, match="probability"):
        build(folder, dropout=1.5)


def test_a_bundle_of_this_library_is_not_built_here(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of this library.*--network unet"):
        build(project / "bundles" / "hippocampus_mri_segmentation")
