"""The source knob: scratch, a registry name, a file; and no fourth thing that happens in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import safetensors.torch
import torch
from monai.networks.nets import HighResNet
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import parameter_count
from medtl_monai.transfer.source import is_file_source, lineage_of, load_source, network_for, network_for_source
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.read import read_state
from medtl_monai.weights.registry import pretrained

GIF = "highres3dnet_gif"
State = dict[str, torch.Tensor]


@pytest.fixture
def gif(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published file, where the registry finds it."""
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    return real_weights / "highres3dnet" / pretrained(GIF).file_name


def state_of(network: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def saved(network: nn.Module, path: Path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("source", "is_file"),
    [
        ("scratch", False),
        (GIF, False),
        ("model.pt", True),
        ("MODEL.PTH", True),
        ("weights.safetensors", True),
        ("runs/model", True),
        ("/runs/3/model.pt", True),
    ],
)
def test_is_file_source(source: str, is_file: bool) -> None:
    assert is_file_source(source) is is_file


def test_scratch_changes_nothing() -> None:
    network = network_for("scratch", default="unet", out_channels=3, seed=4)
    before = state_of(network)
    assert load_source(network, "scratch") is None
    assert same(state_of(network), before)
    assert same(before, state_of(build_network("unet", out_channels=3, seed=4)))
    assert network_for_source("scratch", default="highres3dnet") == "highres3dnet"


def test_registry_source_fills_the_body_and_leaves_the_head(gif: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = network_for(GIF, default="unet", out_channels=3, dropout=0.1, seed=4)
    assert (network.architecture, network.out_channels, network.dropout) == ("highres3dnet", 3, 0.1)
    before = state_of(network)
    with caplog.at_level(logging.INFO):
        report = load_source(network, GIF)
    published = rename(read_state(gif), "fepegar_highresnet")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name] if name.startswith("blocks.11.") else published[name]), name
    assert report is not None
    assert (len(report.loaded), len(report.reinitialised), len(report.dropped)) == (120, 2, 6)
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.sha256 == pretrained(GIF).sha256
    assert report.parameters_total == parameter_count(network)
    assert report.parameters_loaded == pretrained(GIF).parameters - (160 * 80 + 2 * 160)
    assert report.table() in caplog.text


def test_the_head_is_new_even_with_160_classes(gif: Path) -> None:
    network = network_for(GIF, default="unet", out_channels=160)
    head = network.blocks[11].weight.detach().clone()
    load_source(network, GIF)
    assert torch.equal(network.blocks[11].weight, head)


def test_registry_source_of_another_network(gif: Path) -> None:
    network = build_network("unet")
    before = state_of(network)
    with pytest.raises(
        ConfigError, match=r"belongs to another network; expected --network highres3dnet, got --network unet"
    ):
        load_source(network, GIF)
    assert same(state_of(network), before)


def test_registry_source_with_other_input_channels(gif: Path) -> None:
    network = build_network("highres3dnet", in_channels=2)
    before = state_of(network)
    with pytest.raises(
        WeightsError, match=r"1 mismatched \(blocks\.0\.conv\.weight \(16, 1, 3, 3, 3\) for \(16, 2, 3, 3, 3\)\)"
    ):
        load_source(network, GIF)
    assert same(state_of(network), before)


def test_damaged_registry_file(gif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one weight differs."""
    content = bytearray(gif.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / gif.name).write_bytes(content)
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path))
    network = network_for(GIF, default="unet", out_channels=3)
    before = state_of(network)
    with pytest.raises(WeightsError, match=r"not the expected one.*fetch it again"):
        load_source(network, GIF)
    assert same(state_of(network), before)


def test_absent_registry_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    with pytest.raises(WeightsError, match="medtl weights import FILE"):
        load_source(build_network("highres3dnet"), GIF)


def test_unknown_source() -> None:
    for call in (
        lambda: network_for_source("highres3dnet", default="unet"),
        lambda: load_source(build_network("unet"), "x"),
    ):
        with pytest.raises(WeightsError, match="unknown pretrained weights"):
            call()


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
def test_a_file_of_the_same_task_is_taken_over_whole(tmp_path: Path, name: str) -> None:
    trained = build_network(name, out_channels=3, seed=1)
    source = saved(trained, tmp_path / "model.pt")
    network = network_for(source, default="nothing", out_channels=3, seed=2)
    assert network.architecture == name
    report = load_source(network, source)
    assert report is not None
    assert (report.source, report.reinitialised, report.dropped) == ("model.pt", (), ())
    assert report.parameter_share == 1.0
    assert same(state_of(network), state_of(trained))


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
def test_a_file_of_another_task_gives_its_body(tmp_path: Path, name: str) -> None:
    trained = build_network(name, out_channels=5, seed=1)
    source = str(tmp_path / "model.safetensors")
    safetensors.torch.save_file(trained.state_dict(), source)
    network = network_for(source, default="nothing", out_channels=3, seed=2)
    before = state_of(network)
    report = load_source(network, source)
    assert report is not None
    assert set(report.reinitialised) == set(report.dropped) == {n for n in before if network.stage_of(n) == "head"}
    for tensor_name, tensor in network.state_dict().items():
        wanted = before if network.stage_of(tensor_name) == "head" else trained.state_dict()
        assert torch.equal(tensor, wanted[tensor_name])


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    source = saved(build_network("unet"), tmp_path / "model.pt")
    network = build_network("highres3dnet")
    before = state_of(network)
    with pytest.raises(WeightsError, match=r"do not fill the network HighRes3DNet; .*--network"):
        load_source(network, source)
    assert same(state_of(network), before)


def test_a_file_of_a_monai_network_is_recognised(tmp_path: Path) -> None:
    """The same tensor names; MONAI's own head is dropped and told."""
    source = saved(HighResNet(spatial_dims=3, in_channels=1, out_channels=4, bias=False), tmp_path / "model.pt")
    network = network_for(source, default="unet", out_channels=4)
    report = load_source(network, source)
    assert report is not None
    assert (len(report.loaded), len(report.reinitialised), len(report.dropped)) == (120, 2, 6)


@pytest.mark.parametrize("plant", ["missing", "renamed", "module.module."])
def test_a_file_with_a_difference_is_refused(tmp_path: Path, plant: str) -> None:
    state = state_of(build_network("unet", seed=1))
    if plant == "missing":
        del state["down2.1.0.weight"]
    elif plant == "renamed":
        state["down2.1.0.kernel"] = state.pop("down2.1.0.weight")
    else:
        state = {f"module.module.{name}": tensor for name, tensor in state.items()}
    path = tmp_path / "model.pt"
    torch.save(state, path)
    network = build_network("unet")
    before = state_of(network)
    refusal = "two `module." if plant == "module.module." else "do not fill the network SmallUNet"
    with pytest.raises(WeightsError, match=refusal):
        load_source(network, str(path))
    assert same(state_of(network), before)


def test_foreign_files_are_told_the_way(gif: Path, tmp_path: Path) -> None:
    for source in (str(gif), saved(nn.Linear(3, 3), tmp_path / "linear.pt")):
        with pytest.raises(WeightsError, match=rf"belong to no network of this library; .*registry name .*{GIF}"):
            network_for(source, default="unet", out_channels=2)


def test_absent_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights file not found"):
        network_for("nowhere/model.pt", default="unet", out_channels=2)
    (tmp_path / "model.pt").write_bytes(b"<html></html>")
    with pytest.raises(WeightsError, match="cannot be read"):
        network_for(str(tmp_path / "model.pt"), default="unet", out_channels=2)


def test_lineage(gif: Path, tmp_path: Path) -> None:
    (row,) = lineage_of(GIF)
    assert (row.source, row.licence, row.commercial) == (GIF, "MIT", True)
    assert lineage_of("scratch") == ()
    (unknown,) = lineage_of("runs/model.pt")
    assert (unknown.licence, unknown.commercial) == (None, False)
    assert lineage_of("runs/renamed.pt", pretrained(GIF).sha256)[0].source == GIF
