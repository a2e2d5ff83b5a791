"""Networks outside Python: TorchScript, torch.export and ONNX give PyTorch's logits; every name builds and trains."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoders import ENCODERS_2D, ENCODERS_3D, build_encoder, published_architecture
from medtl_monai.networks.factory import NETWORKS, build_network, network_name
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.weights.registry import REGISTRY

SIZES = {2: (48, 64), 3: (24, 20, 16)}
BUNDLED = [
    "unet",
    "highres3dnet",
    "unet_squeezenet1_0_i3d",
    "unet_medicalnet_resnet10",
    "classifier_medicalnet_resnet18",
]
BUNDLED += ["unet_squeezenet1_0", "classifier_squeezenet1_0"]


def example(name: str) -> tuple[StagedNetwork, torch.Tensor]:
    torch.manual_seed(0)
    network = build_network(name, out_channels=3)
    return network, torch.rand(2, 1, *SIZES[network_name(name).spatial_dims])


@pytest.mark.parametrize("name", BUNDLED)
def test_script_export_and_onnx_give_the_same_logits(name: str, tmp_path: Path) -> None:
    network, image = example(name)
    image = image[:1]
    with torch.no_grad():
        logits = network.eval()(image)
        assert torch.allclose(torch.jit.script(network)(image), logits, atol=1e-5)
        assert torch.allclose(torch.export.export(network, (image,)).module()(image), logits, atol=1e-5)
    torch.onnx.export(network, (image,), dynamo=True, verbose=False).save(str(tmp_path / "network.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"))
    (result,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert (torch.from_numpy(result) - logits).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ["unet_densenet121", "unet_resnet18_acs", "classifier_efficientnet_b0_centre"])
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    network, image = example(name)
    network.train()(image).square().mean().backward()
    cut = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert cut == []


@pytest.mark.parametrize("name", [*ENCODERS_2D, *ENCODERS_3D])
def test_every_encoder_builds_and_keeps_its_promises(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(name)
    assert (encoder.architecture, encoder.in_channels) == (name, 1)
    assert encoder.spatial_dims == (2 if name in ENCODERS_2D else 3)
    assert len(encoder.channels) == len(encoder.strides)
    assert {len(stride) for stride in encoder.strides} == {encoder.spatial_dims}
    stages = [encoder.stage_of(tensor) for tensor, _ in encoder.named_parameters()]
    assert set(stages) == set(encoder.stages)
    assert set(encoder.adaptation) <= set(encoder.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_any_input_size_gives_logits_on_its_own_voxels(name: str) -> None:
    """Shapes alone, without memory: sizes that no stride divides, and one that is thinner than every stem."""
    row = network_name(name)
    with torch.device("meta"):
        network = build_network(name, in_channels=2, out_channels=5)
    for size in [(37, 51), (5, 130)] if row.spatial_dims == 2 else [(37, 50, 21), (9, 33, 1)]:
        logits = network(torch.empty(2, 2, *size, device="meta"))
        assert logits.shape == ((2, 5) if row.task == "classification" else (2, 5, *size))


def test_every_published_architecture_is_an_encoder() -> None:
    encoders = {published_architecture(name) for name in (*ENCODERS_2D, *ENCODERS_3D)}
    assert {row.architecture for row in REGISTRY.values()} == encoders


def test_every_name_says_what_it_is() -> None:
    assert len(NETWORKS) == 2 + 3 * (14 + 2 * 7 + 1 + 3 * 14)
    row = network_name("classifier_swin_t_i3d")
    assert (row.task, row.spatial_dims, row.encoder) == ("classification", 3, "swin_t_i3d")
    with pytest.raises(ConfigError, match="did you mean 'unet_resnet18'"):
        build_network("unet_resnet_18")
    with pytest.raises(ConfigError, match="did you mean 'medicalnet_resnet18'"):
        build_encoder("medicalnet_resnet_18")
