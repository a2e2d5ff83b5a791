"""Registry rows and files as sources of networks with an encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from monai.networks.nets import UNet
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.networks.encoders import build_encoder
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.source import load_source, network_for, network_for_source
from medtl_monai.weights import registry
from medtl_monai.weights.load import fill_network, match_state
from medtl_monai.weights.registry import pretrained

State = dict[str, torch.Tensor]


def state_of(network: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def publish(state: object, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save ``state`` as the file of a registry row, and let the row know its hash."""
    row = pretrained(name)
    torch.save(state, folder / row.file_name, _use_new_zipfile_serialization=False)
    known = replace(row, sha256=sha256_of(folder / row.file_name))
    monkeypatch.setitem(registry.REGISTRY, name, known)
    monkeypatch.setenv("MEDTL_WEIGHTS", str(folder))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")


@pytest.fixture
def resnet18(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """torchvision's ResNet-18 with seeded weights and statistics, as the published file."""
    torch.manual_seed(5)
    model = torchvision.models.resnet18()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2.0)
    publish(model.state_dict(), "imagenet_resnet18", tmp_path, monkeypatch)
    return state_of(model)


@pytest.mark.parametrize(
    ("source", "default", "name"),
    [
        ("imagenet_resnet18", "unet_densenet121", "unet_resnet18"),
        ("imagenet_resnet18", "classifier_swin_t", "classifier_resnet18"),
        ("imagenet_resnet18", "unet", "unet_resnet18_i3d"),
        ("imagenet_resnet18", "unet_resnet18_acs", "unet_resnet18_acs"),
        ("imagenet_resnet18", "classifier_medicalnet_resnet10", "classifier_resnet18_i3d"),
        ("medicalnet_resnet18_23datasets", "unet", "unet_medicalnet_resnet18"),
        ("medicalnet_resnet18", "unet_medicalnet_resnet18_stride32", "unet_medicalnet_resnet18_stride32"),
        ("medicalnet_resnet50", "classifier_highres3dnet", "classifier_medicalnet_resnet50"),
        ("highres3dnet_gif", "unet", "highres3dnet"),
        ("highres3dnet_gif", "classifier_medicalnet_resnet10", "classifier_highres3dnet"),
        ("scratch", "unet_vit_b_16", "unet_vit_b_16"),
    ],
)
def test_the_source_decides_the_encoder_and_the_default_the_task(source: str, default: str, name: str) -> None:
    assert network_for_source(source, default=default) == name


def test_a_3d_source_does_not_go_into_a_2d_network() -> None:
    with pytest.raises(ConfigError, match=r"'medicalnet_resnet10' is a 3D network.*--spatial-dims 2"):
        network_for_source("medicalnet_resnet10", default="unet_resnet18")


@pytest.mark.parametrize("name", ["unet_resnet18", "classifier_resnet18", "unet_resnet18_i3d", "unet_resnet18_acs"])
def test_a_published_file_fills_the_whole_encoder(resnet18: State, name: str) -> None:
    network = build_network(name, out_channels=3)
    before = state_of(network)
    report = load_source(network, "imagenet_resnet18")
    assert report is not None
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    body = {tensor for tensor in before if tensor.startswith("encoder.")}
    assert len(report.loaded) + len(report.adapted) == len(body) == len(resnet18) - 2
    assert set(report.reinitialised) == set(before) - body
    assert report.dropped == ("encoder.fc.weight", "encoder.fc.bias")
    after = state_of(network)
    for tensor in before:
        if tensor not in body:
            assert torch.equal(after[tensor], before[tensor])
        elif tensor in report.loaded:
            assert torch.equal(after[tensor], resnet18[tensor.removeprefix("encoder.")])
    assert any(line.startswith("encoder.conv1.weight: ") for line in report.adapted)


def test_inflated_kernels_add_up_to_the_published_ones(resnet18: State) -> None:
    network = build_network("unet_resnet18_i3d")
    load_source(network, "imagenet_resnet18")
    kernel = network.encoder.state_dict()["layer3.1.conv2.weight"]
    assert kernel.shape == (256, 256, 3, 3, 3)
    assert torch.allclose(kernel.sum(dim=-1), resnet18["layer3.1.conv2.weight"], atol=1e-6)


def test_counters_that_old_files_lack_are_told(resnet18: State, tmp_path: Path, monkeypatch) -> None:
    old = {name: tensor for name, tensor in resnet18.items() if not name.endswith("num_batches_tracked")}
    publish(old, "imagenet_resnet18", tmp_path, monkeypatch)
    report = load_source(build_network("classifier_resnet18"), "imagenet_resnet18")
    assert report is not None
    assert sum("not in the file, counts from 0" in line for line in report.adapted) == 20
    assert report.missing == ()


@pytest.mark.parametrize("name", ["unet_medicalnet_resnet10", "unet_medicalnet_resnet10_stride32"])
def test_a_medicalnet_file_fills_both_topologies(tmp_path: Path, monkeypatch, name: str) -> None:
    torch.manual_seed(1)
    published = build_encoder("medicalnet_resnet10").state_dict()
    wrapped = {"state_dict": {f"module.{tensor}": value for tensor, value in published.items()}}
    publish(wrapped, "medicalnet_resnet10", tmp_path, monkeypatch)
    network = build_network(name, seed=3)
    report = load_source(network, "medicalnet_resnet10")
    assert report is not None
    assert (len(report.loaded), report.adapted, report.missing) == (72, (), ())
    assert same(state_of(network.encoder), dict(published))


def test_medicalnet_weights_of_another_depth(tmp_path: Path, monkeypatch) -> None:
    publish(build_encoder("medicalnet_resnet10").state_dict(), "medicalnet_resnet10", tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="an encoder medicalnet_resnet10, got --network unet_medicalnet_resnet18"):
        load_source(build_network("unet_medicalnet_resnet18"), "medicalnet_resnet10")


def test_the_real_squeezenet(real_weights: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    network = network_for("imagenet_squeezenet1_0_pruned", default="classifier_resnet18", out_channels=2)
    assert network.architecture == "classifier_squeezenet1_0"
    report = load_source(network, "imagenet_squeezenet1_0_pruned")
    assert report is not None
    assert (len(report.loaded), len(report.adapted), len(report.dropped)) == (49, 1, 2)


def test_the_encoder_of_a_trained_segmentation_network_serves_a_classifier(tmp_path: Path) -> None:
    trained = build_network("unet_squeezenet1_0", out_channels=5, seed=1)
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    network = build_network("classifier_squeezenet1_0", seed=2)
    before = state_of(network)
    report = load_source(network, str(tmp_path / "model.pt"))
    assert report is not None
    assert same(state_of(network.encoder), state_of(trained.encoder))
    assert report.reinitialised == ("class_head.1.weight", "class_head.1.bias")
    assert torch.equal(network.class_head[1].weight, before["class_head.1.weight"])


def test_a_file_of_ones_own_under_the_published_names(tmp_path: Path) -> None:
    own = torchvision.models.resnet18(num_classes=4)
    torch.save(own.state_dict(), tmp_path / "mine.pt")
    source = str(tmp_path / "mine.pt")
    assert network_for_source(source, default="classifier_resnet50") == "classifier_resnet18"
    network = network_for(source, default="classifier_resnet50", out_channels=2)
    report = load_source(network, source)
    assert report is not None
    assert report.dropped == ("encoder.fc.weight", "encoder.fc.bias")
    assert torch.equal(network.encoder.state_dict()["layer1.0.conv1.weight"], own.layer1[0].conv1.weight)


def test_a_densenet_file_under_its_old_names(tmp_path: Path) -> None:
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("conv1.", "conv.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv2.", "conv.2."): tensor
        for name, tensor in torchvision.models.densenet121(num_classes=3).state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet.pth")
    source = str(tmp_path / "densenet.pth")
    network = network_for(source, default="classifier_resnet18", out_channels=3)
    assert network.architecture == "classifier_densenet121"
    report = load_source(network, source)
    assert report is not None
    assert (report.missing, len(report.adapted)) == ((), 1)


@pytest.mark.parametrize("name", ["unet_resnet18", "unet_resnet18_i3d", "classifier_medicalnet_resnet10_stride32"])
def test_a_trained_network_is_recognised(tmp_path: Path, name: str) -> None:
    torch.save(build_network(name, out_channels=3).state_dict(), tmp_path / "model.pt")
    (tmp_path / "run.json").write_text(json.dumps({"config": {"settings": {"network": name}}}))
    assert network_for_source(str(tmp_path / "model.pt"), default="unet") == name


def test_a_trained_network_without_its_record_is_recognised_by_its_tensors(tmp_path: Path) -> None:
    torch.save(build_network("unet_squeezenet1_0_i3d", out_channels=3).state_dict(), tmp_path / "model.pt")
    (tmp_path / "run.json").write_text("{not json")
    assert network_for_source(str(tmp_path / "model.pt"), default="unet") == "unet_squeezenet1_0_i3d"


def test_two_topologies_of_the_same_tensors_are_not_guessed(tmp_path: Path) -> None:
    """The very defect of loading MedicalNet into another network: shapes alone cannot tell stride 8 from 32."""
    torch.save(build_network("unet_medicalnet_resnet10_stride32", out_channels=3).state_dict(), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"resnet10 or unet_medicalnet_resnet10_stride32.*--network"):
        network_for_source(str(tmp_path / "model.pt"), default="unet")


def test_a_bundle_folder_is_a_source(project: Path) -> None:
    bundle = str(project / "bundles" / "hippocampus_mri_segmentation")
    network = network_for(bundle, default="highres3dnet", out_channels=3)
    report = load_source(network, bundle)
    assert report is not None
    assert (network.architecture, report.source, report.parameter_share) == ("unet", "model.pt", 1.0)


def test_the_bundle_of_somebody_else_is_a_source(tmp_path: Path) -> None:
    """A model-zoo bundle with MONAI's UNet for 4 classes gives its body to a task with 3."""
    bundle = tmp_path / "zoo"
    for folder in ("configs", "models"):
        (bundle / folder).mkdir(parents=True)
    arguments = {"spatial_dims": 3, "in_channels": 1, "channels": [4, 8], "strides": [2], "num_res_units": 1}
    definition = {"_target_": "UNet", **arguments, "out_channels": 4}
    (bundle / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    theirs = UNet(**arguments, out_channels=4)
    torch.save(theirs.state_dict(), bundle / "models" / "model.pt")
    for source in (str(bundle), str(bundle / "models" / "model.pt")):
        network = network_for(source, default="unet", out_channels=3, seed=1)
        assert network.architecture == f"bundle:{bundle}"
        report = load_source(network, source)
        assert report is not None
        assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
        own = network.state_dict()
        assert all(torch.equal(own[name], theirs.state_dict()[name.removeprefix("net.")]) for name in report.loaded)
        assert len(report.loaded) > len(report.reinitialised) > 0
        assert network(torch.rand(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)
    again = build_network(network.architecture, out_channels=3, seed=1)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    assert load_source(again, str(tmp_path / "mine.pt")) is not None  # what was trained from it goes back in
    assert same(state_of(again), state_of(network))
    with pytest.raises(ConfigError, match="is a 3D network"):
        network_for(str(bundle), default="unet_resnet18", out_channels=3)


def test_commercial_use_refuses_what_does_not_allow_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"imagenet_vit_b_16_swag.*CC-BY-NC"):
        load_source(build_network("classifier_vit_b_16"), "imagenet_vit_b_16_swag", commercial=True)
    torch.save(build_network("unet").state_dict(), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="licence"):
        load_source(build_network("unet"), str(tmp_path / "model.pt"), commercial=True)


def test_a_registered_file_given_by_its_path_keeps_its_licence(tmp_path: Path, monkeypatch, resnet18: State) -> None:
    path = tmp_path / pretrained("imagenet_resnet18").file_name
    assert load_source(build_network("classifier_resnet18"), str(path), commercial=True) is not None


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="setting 'commercial' is on or off"):
        load_source(build_network("unet"), "scratch", commercial="no")


def test_a_file_without_its_head_does_not_fill_a_network_that_declares_no_new_one() -> None:
    trained = build_network("classifier_medicalnet_resnet10", out_channels=3, seed=1)
    headless = {name: tensor for name, tensor in state_of(trained).items() if not name.startswith("class_head.")}
    network = build_network("classifier_medicalnet_resnet10", out_channels=3, seed=2)
    before = state_of(network)
    report = match_state(network, headless, source="headless", sha256="0" * 64)
    assert report.missing == ("class_head.1.weight", "class_head.1.bias")
    with pytest.raises(WeightsError, match=r"2 missing \(class_head\.1\.weight, class_head\.1\.bias\)"):
        fill_network(network, headless, report)
    assert same(state_of(network), before)
