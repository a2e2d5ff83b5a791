"""HighRes3DNet against the published network, written here a second time from its tensor names in plain PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets import HighResNet
from torch import nn

from medtl_monai.networks.highresnet import HighRes3DNet
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.read import read_state

State = Mapping[str, torch.Tensor]
IMAGE_SHAPE = (2, 1, 11, 13, 12)


def norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (state[f"{name}.{t}"] for t in ("running_mean", "running_var", "weight", "bias"))
    shape = (1, -1, 1, 1, 1)
    y = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return y * scale.view(shape) + shift.view(shape)


def conv(state: State, name: str, x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
    """Zero padding that keeps the size; no bias."""
    weight = state[f"{name}.weight"]
    return F.conv3d(x, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)


def residual(state: State, name: str, x: torch.Tensor, dilation: int) -> torch.Tensor:
    """Two times (norm, ReLU, convolution), and the input added with zero channels on both sides."""
    y = x
    for pair in (0, 1):
        layer = f"{name}.residual_block.{pair}.convolutional_block"
        y = conv(state, f"{layer}.3", F.relu(norm(state, f"{layer}.0", y)), dilation)
    more = (y.shape[1] - x.shape[1]) // 2
    return y + F.pad(x, (0, 0, 0, 0, 0, 0, more, more))


def published(state: State, x: torch.Tensor) -> torch.Tensor:
    """The 160 logits of github.com/fepegar/highresnet in evaluation mode, where its dropout does nothing."""
    x = F.relu(norm(state, "block.0.convolutional_block.2", conv(state, "block.0.convolutional_block.1", x)))
    for group, dilation in ((1, 1), (2, 2), (3, 4)):
        for block in range(3):
            x = residual(state, f"block.{group}.dilation_block.{block}", x, dilation)
    x = F.relu(norm(state, "block.4.convolutional_block.1", conv(state, "block.4.convolutional_block.0", x)))
    return norm(state, "block.6.convolutional_block.1", conv(state, "block.6.convolutional_block.0", x))


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(IMAGE_SHAPE, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def published_state(real_weights: Path) -> dict[str, torch.Tensor]:
    return read_state(real_weights / "highres3dnet" / "highres3dnet_li_parameters-7d297872.pth")


@pytest.fixture(scope="module")
def expected(published_state: State, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return published(published_state, image)


def test_published_logits(published_state: State, image: torch.Tensor, expected: torch.Tensor) -> None:
    network = HighRes3DNet(1, 160, source_head=True)
    network.load_state_dict(rename(published_state, "fepegar_highresnet"), strict=True)
    with torch.no_grad():
        logits = network.eval()(image)
    assert logits.shape == (2, 160, 11, 13, 12)
    assert (expected < 0).float().mean() > 0.1, "a wrong final ReLU has to show"
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert torch.equal(logits.argmax(1), expected.argmax(1))


def test_monai_network_cuts_the_negative_logits(
    published_state: State, image: torch.Tensor, expected: torch.Tensor
) -> None:
    network = HighResNet(spatial_dims=3, in_channels=1, out_channels=160, bias=False)
    network.load_state_dict(rename(published_state, "fepegar_highresnet"), strict=True)
    with torch.no_grad():
        output = network.eval()(image)
    assert (output - F.relu(expected)).abs().max() <= 1e-4 * expected.abs().max()
    assert (output - expected).abs().max() > 0.1 * expected.abs().max()


def test_published_body_feeds_the_new_head(published_state: State, image: torch.Tensor) -> None:
    network = HighRes3DNet(1, 3).eval()
    body = {
        name: tensor
        for name, tensor in rename(published_state, "fepegar_highresnet").items()
        if not name.startswith("blocks.11.")
    }
    left = network.load_state_dict(body, strict=False)
    assert (sorted(left.missing_keys), left.unexpected_keys) == (["blocks.11.bias", "blocks.11.weight"], [])
    features: list[torch.Tensor] = []
    network.blocks[10].register_forward_hook(lambda module, args, output: features.append(output))
    with torch.no_grad():
        logits = network(image)
        head = network.blocks[11]
        by_hand = torch.einsum("oc,bchwd->bohwd", head.weight[:, :, 0, 0, 0], features[0])
    assert features[0].shape[1] == 80
    torch.testing.assert_close(logits, by_hand + head.bias.view(1, -1, 1, 1, 1), rtol=1e-4, atol=1e-4)


def test_new_head_gives_logits_of_both_signs(image: torch.Tensor) -> None:
    with torch.no_grad():
        logits = HighRes3DNet(1, 2).train()(image)
    assert logits.min() < 0 < logits.max()


def test_stages_hold_every_tensor_exactly_once() -> None:
    network = HighRes3DNet(1, 3)
    assert list(network.stages) == ["stem", "dilation1", "dilation2", "dilation4", "neck", "head"]
    modules = [name for names in network.stages.values() for name in names]
    assert modules == [f"blocks.{index}" for index in range(12)]
    for name in network.state_dict():
        assert sum(name.startswith(f"{module}.") for module in modules) == 1
    dilations = {
        stage: {layer.dilation for module in network.stage_modules(stage) for layer in convolutions(module)}
        for stage in ("dilation1", "dilation2", "dilation4")
    }
    assert dilations == {"dilation1": {(1, 1, 1)}, "dilation2": {(2, 2, 2)}, "dilation4": {(4, 4, 4)}}


def convolutions(module: nn.Module) -> list[nn.Conv3d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv3d)]


@pytest.mark.parametrize("source_head", [False, True])
def test_gradients_reach_every_parameter(source_head: bool) -> None:
    torch.manual_seed(0)
    network = HighRes3DNet(2, 3, source_head=source_head)
    network(torch.randn(1, 2, 8, 9, 7)).square().mean().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a bias in front of a batch norm would be silent, and so would a ReLU that cuts everything
    assert silent == []


def test_dropout_acts_before_the_head_and_in_training_only(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = HighRes3DNet(1, 2, dropout=0.5)
    dropped: list[torch.Tensor] = []
    network.blocks[10].register_forward_hook(lambda module, args, output: dropped.append(output))
    with torch.no_grad():
        network.train()(image)
        network.eval()(image)
    empty_maps = [(maps == 0).flatten(2).all(2).float().mean().item() for maps in dropped]
    assert 0.3 < empty_maps[0] < 0.7, "whole feature maps are dropped"
    assert empty_maps[1] == 0.0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_script_and_export_agree_with_eager() -> None:
    network = HighRes3DNet(1, 3).eval()
    image = torch.randn(1, 1, 7, 9, 8)
    with torch.no_grad():
        expected = network(image)
        scripted = torch.jit.script(network)(image)
        exported = torch.export.export(network, (image,)).module()(image)
    torch.testing.assert_close(scripted, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(exported, expected, rtol=1e-5, atol=1e-5)
