"""The encoder of a source holds the source's own values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.unet import SmallUNet
from medtl_monai.ranking.encoders import ContractingPath, parameters_of, random_encoder, source_encoder, split_method
from medtl_monai.transfer.features import FrozenFeatures, dense_features
from medtl_monai.weights.read import read_state

SQUEEZENET = "imagenet_squeezenet1_0_pruned"


@pytest.fixture
def weights(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    return real_weights


def test_split_method() -> None:
    assert split_method("a@acs") == ("a", "acs")
    assert split_method("runs/me@home/model.pt") == ("runs/me@home/model.pt", "")


def test_the_contracting_path_is_the_unets(tmp_path: Path) -> None:
    network = build_network("unet", out_channels=4, seed=3)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    encoder = source_encoder(str(tmp_path / "model.pt"), 3)
    assert isinstance(encoder, ContractingPath)
    seen: list[torch.Tensor] = []
    assert isinstance(network, SmallUNet)
    network.down3.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = torch.rand(1, 1, 16, 24, 16)
    network.eval()(image)
    maps = encoder(image)
    assert torch.equal(maps[-1], seen[0])
    assert [level.shape[1] for level in maps] == list(encoder.channels)
    assert [16 // level.shape[2] for level in maps] == [stride[0] for stride in encoder.strides]
    assert FrozenFeatures(encoder)(torch.rand(1, 1, 13, 9, 17)).shape == (1, 128)
    assert dense_features(encoder, torch.rand(1, 13, 9, 17), [[12, 8, 16]]).shape == (1, 240)
    own = sum(
        p.numel() for name in ("stem", "down1", "down2", "down3") for p in network.get_submodule(name).parameters()
    )
    assert parameters_of(encoder) == own


@pytest.mark.parametrize(("method", "name"), [("", "i3d"), ("@i3d", "i3d"), ("@centre", "centre"), ("@acs", "acs")])
def test_a_registry_name_is_inflated_as_asked(weights: Path, method: str, name: str) -> None:
    encoder = source_encoder(SQUEEZENET + method, 3)
    assert encoder.architecture == f"squeezenet1_0_{name}"
    flat = read_state(weights / "squeezenet1_0" / "squeezenet1_0_imagenet.pth")["features.3.squeeze.weight"]
    own = encoder.state_dict()["features.3.squeeze.weight"]
    torch.testing.assert_close(own.reshape(own.shape[:2]), flat.reshape(flat.shape[:2]))  # 1x1: the same in any way
    assert not encoder.training


def test_a_users_2d_network_serves_3d_images(tmp_path: Path) -> None:
    trained = build_network("classifier_squeezenet1_0", seed=7)
    torch.save(trained.state_dict(), tmp_path / "own.pt")
    record = {"config": {"settings": {"network": "classifier_squeezenet1_0"}}}  # as every run of a bundle leaves it
    (tmp_path / "run.json").write_text(json.dumps(record))
    encoder = source_encoder(str(tmp_path / "own.pt"), 3)
    assert encoder.architecture == "squeezenet1_0_i3d"
    flat = trained.state_dict()["encoder.features.3.squeeze.weight"]
    torch.testing.assert_close(encoder.state_dict()["features.3.squeeze.weight"][..., 0], flat)


def test_a_segmentation_network_gives_its_encoder(tmp_path: Path) -> None:
    trained = build_network("unet_squeezenet1_0", seed=7, out_channels=5)
    torch.save(trained.state_dict(), tmp_path / "own.pt")
    (tmp_path / "run.json").write_text(json.dumps({"config": {"settings": {"network": "unet_squeezenet1_0"}}}))
    encoder = source_encoder(str(tmp_path / "own.pt"), 2)
    state = trained.state_dict()
    assert all(torch.equal(tensor, state[f"encoder.{name}"]) for name, tensor in encoder.state_dict().items())


def test_highres3dnet_by_name_and_as_a_trained_network(weights: Path, tmp_path: Path) -> None:
    published = source_encoder("highres3dnet_gif", 3).state_dict()
    whole = build_network("highres3dnet", out_channels=3, seed=1)
    torch.save(whole.state_dict(), tmp_path / "model.pt")
    own = source_encoder(str(tmp_path / "model.pt"), 3).state_dict()
    assert published.keys() == own.keys()
    assert torch.equal(own["blocks.0.conv.weight"], whole.state_dict()["blocks.0.conv.weight"])
    assert not torch.equal(own["blocks.0.conv.weight"], published["blocks.0.conv.weight"])


def test_what_cannot_be_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="3D network"):
        source_encoder("highres3dnet_gif", 2)
    with pytest.raises(ConfigError, match="not inflated"):
        source_encoder("highres3dnet_gif@acs", 3)


@pytest.mark.parametrize("architecture", ["unet", "highres3dnet", "squeezenet1_0_acs"])
def test_initial_weights_depend_on_the_seed_alone(architecture: str) -> None:
    one, again, other = (random_encoder(architecture, 1, seed).state_dict() for seed in (0, 0, 1))
    first = next(iter(one))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one[first], other[first])
