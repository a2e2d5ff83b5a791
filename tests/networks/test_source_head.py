"""The published head, and the proof of parity: what it accepts and which defects it catches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from imagenet_sources import filled, normalised, source_network
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES
from medtl_monai.networks.source_head import SOURCE_HEADS, SourceClassifier, build_source_head, parity
from medtl_monai.weights.read import read_state

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def resnet() -> State:
    return dict(source_network("resnet18").state_dict())


def test_every_encoder_has_its_published_head() -> None:
    assert set(SOURCE_HEADS) == set(IMAGENET_ARCHITECTURES)
    for architecture, name in SOURCE_HEADS.items():
        with torch.device("meta"):
            assert all(key.startswith(f"{name}.") for key in build_source_head(architecture).state_dict())


@pytest.mark.parametrize(
    ("stem", "channels", "bound"),
    [("rgb", 3, 0), ("replicate", 1, 0), ("fold", 1, 1e-5), ("fold", 3, 1e-5), ("fold", 2, 1e-5), ("sum", 1, 1e-5)],
)
def test_a_faithful_encoder_has_parity(resnet: State, stem: str, channels: int, bound: float) -> None:
    assert parity(filled("resnet18", resnet, channels, stem), resnet, "resnet18") <= bound


@pytest.mark.parametrize("architecture", ["densenet121", "convnext_tiny", "vit_b_16"])
def test_parity_of_other_families(architecture: str) -> None:
    state = dict(source_network(architecture).state_dict())
    assert parity(filled(architecture, state, 1, "fold"), state, architecture) <= 1e-5


def _no_ones(encoder: nn.Module) -> None:
    encoder.conv1.weight[:, -1] = 0


def _bias_instead_of_ones(encoder: nn.Module) -> None:
    encoder.conv1.bias = nn.Parameter(encoder.conv1.weight[:, -1].sum(dim=(1, 2)))
    encoder.conv1.weight[:, -1] = 0


def _mean_instead_of_sum(encoder: nn.Module) -> None:
    encoder.conv1.weight[:, 0] /= 3


def _other_statistics(encoder: nn.Module) -> None:
    encoder.layer3[0].bn2.reset_running_stats()


def _other_epsilon(encoder: nn.Module) -> None:
    encoder.layer4[1].bn2.eps = 1e-1


def _other_stride(encoder: nn.Module) -> None:
    encoder.layer4[0].conv1.stride = encoder.layer4[0].downsample[0].stride = (1, 1)


@pytest.mark.parametrize(
    "defect",
    [_no_ones, _bias_instead_of_ones, _mean_instead_of_sum, _other_statistics, _other_epsilon, _other_stride],
)
def test_parity_shows_defects_that_a_strict_load_does_not(resnet: State, defect: object) -> None:
    encoder = filled("resnet18", resnet, 1, "fold")
    with torch.no_grad():
        defect(encoder)  # type: ignore[operator]
    assert parity(encoder, resnet, "resnet18") > 1e-3


def test_parity_is_not_a_number_where_the_weights_are_not(resnet: State) -> None:
    broken = {**resnet, "layer2.0.conv1.weight": torch.full_like(resnet["layer2.0.conv1.weight"], float("nan"))}
    assert not parity(filled("resnet18", broken, 1, "fold"), broken, "resnet18") <= 1e-5


def test_parity_changes_nothing(resnet: State) -> None:
    encoder = filled("resnet18", resnet, 1, "fold").train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    random_state = torch.get_rng_state()
    first = parity(encoder, resnet, "resnet18")
    assert parity(encoder, resnet, "resnet18") == first
    assert encoder.training
    assert all(layer.training for layer in encoder.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_frozen_stages_stay_still_after_parity(resnet: State) -> None:
    encoder = filled("resnet18", resnet, 1, "fold")
    encoder.freeze(["stem"])
    encoder.train()
    parity(encoder, resnet, "resnet18")
    assert encoder.layer1.training
    assert not encoder.bn1.training


def test_files_from_before_the_batch_counters(resnet: State) -> None:
    old = {name: tensor for name, tensor in resnet.items() if not name.endswith("num_batches_tracked")}
    assert parity(filled("resnet18", old, 3, "rgb"), old, "resnet18") == 0


def test_a_state_of_another_network_is_refused(resnet: State) -> None:
    encoder = filled("resnet18", resnet, 3, "rgb")
    headless = {name: tensor for name, tensor in resnet.items() if not name.startswith("fc.")}
    with pytest.raises(WeightsError, match=r"not the published weights of 'resnet18'; .*fc\.weight.*fetch"):
        parity(encoder, headless, "resnet18")
    with pytest.raises(WeightsError, match="not the published weights of 'resnet34'") as caught:
        parity(encoder, resnet, "resnet34")
    assert len(str(caught.value)) < 700


def test_unknown_names_are_refused(resnet: State) -> None:
    with pytest.raises(ConfigError, match=r"expected one of resnet18, .*, got resnet18_i3d; did you mean"):
        parity(filled("resnet18", resnet, 3, "rgb"), resnet, "resnet18_i3d")
    with pytest.raises(ConfigError, match="unknown architecture of a published head"):
        build_source_head("unet")


def test_the_source_network_scripts(resnet: State) -> None:
    network = SourceClassifier(filled("resnet18", resnet, 1, "fold"), build_source_head("resnet18")).eval()
    grey = torch.rand(2, 1, 40, 56)
    torch.testing.assert_close(torch.jit.script(network)(grey), network(grey))


def test_real_weights(real_weights: Path, real_data: Path) -> None:
    state = read_state(real_weights / "squeezenet1_0" / "squeezenet1_0_imagenet.pth")
    assert parity(filled("squeezenet1_0", state, 3, "rgb"), state, "squeezenet1_0") == 0
    folded = filled("squeezenet1_0", state, 1, "fold")
    assert parity(folded, state, "squeezenet1_0") <= 1e-5
    with np.load(real_data / "chest_xray" / "pneumoniamnist_train_val.npz") as file:
        pixels = next(file[name] for name in file.files if file[name].ndim == 3)[:20]
    grey = torch.nn.functional.interpolate(torch.from_numpy(pixels)[:, None].float() / 255, size=(112, 112))
    head = build_source_head("squeezenet1_0").eval()
    head.load_state_dict({name: tensor for name, tensor in state.items() if name.startswith("classifier.")})
    published = source_network("squeezenet1_0")
    published.load_state_dict(state)
    with torch.no_grad():
        own, wanted = SourceClassifier(folded, head)(grey), published(normalised(grey))
    torch.testing.assert_close(own, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert torch.equal(own.argmax(dim=1), wanted.argmax(dim=1))
