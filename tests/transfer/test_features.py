"""Frozen features against the classifier's own, plain torch, and the defects of common tutorials."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.networks.transfer_unet import TransferUNet
from medtl_monai.transfer.features import FrozenFeatures, dense_features, extract
from tests.networks.toy_encoder import ToyEncoder


def images(count: int = 2, size: int = 16, dims: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, *[size] * dims, generator=torch.Generator().manual_seed(seed))


def classifier(encoder: ToyEncoder | None = None) -> TransferClassifier:
    torch.manual_seed(1)
    network = TransferClassifier(encoder or ToyEncoder(), out_channels=2, dropout=0.5)
    network(images(4))  # running statistics that differ from their initial values
    return network


def test_defaults_are_what_the_head_sees() -> None:
    network = classifier()
    features = FrozenFeatures(network)
    batch = images()
    found = features(batch)
    assert found.shape == (2, features.size) == (2, 32)
    assert found.dtype == torch.float32
    network.eval()
    assert torch.equal(found, network.features(batch))
    torch.testing.assert_close(network.class_head(found), network(batch))  # features, not logits


def test_levels_and_pools_against_plain_torch() -> None:
    encoder = ToyEncoder(2).eval()
    batch = images(dims=2)
    for level, maps in enumerate(encoder(batch)):
        torch.testing.assert_close(FrozenFeatures(encoder, level)(batch), maps.mean(dim=(2, 3)))
        torch.testing.assert_close(FrozenFeatures(encoder, level - 4, "max")(batch), maps.amax(dim=(2, 3)))


def test_t4b_the_batch_axis_stays() -> None:
    """The tutorial squeezes: one image gives a vector without batch, two give a matrix."""
    network = classifier().eval()
    assert network.features(images(1)).squeeze().shape == (32,)
    assert FrozenFeatures(network)(images(1)).shape == (1, 32)
    torch.testing.assert_close(FrozenFeatures(network)(images(2))[:1], FrozenFeatures(network)(images(2)[:1]))


def test_t4b_nothing_of_the_network_changes() -> None:
    """The tutorial runs in training mode with gradients: running statistics move, features depend on the batch."""
    network = classifier().train()
    network.freeze(["level0"])
    network.class_head.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    found = FrozenFeatures(network)(images(seed=5) * 100)
    assert not found.requires_grad
    assert [module.training for module in network.modules()] == modes
    assert any(modes)
    assert not all(modes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    network.encoder(images(seed=5) * 100)  # what the tutorial does
    assert not all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_modes_come_back_after_an_error() -> None:
    network = classifier().train()
    network.encoder.levels[2][0].weight.data = torch.zeros(1)
    with pytest.raises(RuntimeError):
        FrozenFeatures(network)(images())
    assert all(module.training for module in network.modules())


def test_autocast_around_changes_nothing() -> None:
    features = FrozenFeatures(classifier())
    plain = features(images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(features(images()), plain)


def test_extract_keeps_the_order_and_names_broken_rows() -> None:
    network = classifier()
    batches = [images(2, seed=1), images(1, seed=2)]
    table = extract(network, iter(batches))
    assert table.shape == (3, 32)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, FrozenFeatures(network)(torch.cat(batches)).numpy(), atol=1e-6)
    broken = images(3)
    broken[1, 0, 3, 3, 3] = torch.nan
    with pytest.raises(DataError, match=r"rows \[1\]"):
        extract(network, [broken])
    with pytest.raises(DataError, match="no images"):
        extract(network, [])


def test_metatensors_become_plain() -> None:
    network = classifier()
    found = FrozenFeatures(network)(MetaTensor(images()))
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, FrozenFeatures(network)(images()))


@pytest.mark.parametrize(("dims", "size"), [(2, 16), (3, 16), (3, 13)])
def test_dense_features_are_the_resized_maps_at_the_voxels(dims: int, size: int) -> None:
    torch.manual_seed(2)
    network = TransferUNet(ToyEncoder(dims))
    image = images(1, size, dims)
    rng = np.random.default_rng(0)
    voxels = np.vstack([rng.integers(0, size, (20, dims)), np.full(dims, size - 1), np.zeros(dims, int)])
    found = dense_features(network, image[0], voxels)
    assert network.training
    padded = F.pad(image, [0, -size % 16] * dims, mode="replicate")
    mode = "bilinear" if dims == 2 else "trilinear"
    expected = torch.cat([F.interpolate(m, padded.shape[2:], mode=mode)[0] for m in network.eval().encoder(padded)])
    assert found.shape == (22, 8 + 16 + 24 + 32)
    torch.testing.assert_close(found, expected[(slice(None), *voxels.T)].T.detach(), atol=1e-5, rtol=1e-5)


def test_wrong_questions_are_refused() -> None:
    network = classifier()
    with pytest.raises(ConfigError, match="no such level"):
        FrozenFeatures(network, 4)
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        FrozenFeatures(network, pool="meen")
    with pytest.raises(ConfigError, match="did you mean 'traced'"):
        FrozenFeatures(network, backend="trace")
    with pytest.raises(ConfigError, match="no encoder"):
        FrozenFeatures(build_network("unet"))
    with pytest.raises(DataError, match=r"\(B, 1, H, W, D\)"):
        FrozenFeatures(network)(images()[0])
    with pytest.raises(DataError, match="2 of 3 outside"):
        dense_features(network, images()[0], [[0, 0, 0], [16, 0, 0], [0, -1, 0]])
    with pytest.raises(DataError, match="no indices"):
        dense_features(network, images()[0], [[0.5, 0, 0]])
