"""A linear classifier of voxels: equal to the brute force, by name, scripted, and refused where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network, network_name
from medtl_monai.networks.transfer_dense import TransferDense
from medtl_monai.transfer.features import dense_features


@pytest.mark.parametrize(("name", "size"), [("dense_resnet18", (37, 50)), ("dense_squeezenet1_0_i3d", (33, 25, 9))])
def test_equals_a_linear_layer_on_the_features_of_every_voxel(name: str, size: tuple[int, ...]) -> None:
    network = build_network(name, out_channels=3).eval()
    assert isinstance(network, TransferDense)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, sum(network.encoder.channels), generator=generator) / 30
    bias = torch.randn(3, generator=generator)
    network.set_head(weight, bias)
    image = torch.rand(1, *size, generator=generator)
    voxels = np.stack(np.unravel_index(np.arange(0, int(np.prod(size)), 7), size), axis=1)
    wanted = dense_features(network, image, voxels) @ weight.T + bias
    with torch.no_grad():
        logits = network(image[None])[0]
    found = logits[(slice(None), *voxels.T)].T
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_the_stages_are_the_encoders_and_the_head() -> None:
    network = build_network("dense_medicalnet_resnet10", out_channels=2)
    assert network.task_stages == ("head",)
    assert list(network.stages)[:-1] == list(build_network("unet_medicalnet_resnet10").stages)[:-2]
    assert (network_name("dense_resnet18_i3d").family, network_name("highres3dnet").family) == ("dense", "highres3dnet")


def test_scripted_it_computes_the_same() -> None:
    network = build_network("dense_squeezenet1_0").eval()
    image = torch.rand(2, 1, 40, 33)
    with torch.no_grad():
        assert torch.equal(torch.jit.script(network)(image), network(image))


def test_another_classifier_is_refused() -> None:
    network = build_network("dense_squeezenet1_0", out_channels=2)
    assert isinstance(network, TransferDense)
    with pytest.raises(ConfigError, match=r"does not fit the head.*got \(2, 5\), \(2,\)"):
        network.set_head(torch.zeros(2, 5), torch.zeros(2))
