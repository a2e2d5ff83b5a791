"""Inflated encoders against the 2D encoders that they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from imagenet_sources import filled, source_network, without_head
from torch import nn

from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES, build_imagenet_encoder
from medtl_monai.networks.inflate import inflate, inflate_modules
from medtl_monai.networks.inflate_modules import InflatedConv3d
from medtl_monai.networks.staged import parameter_count
from medtl_monai.weights.adapt import adapt_state

Levels = list[torch.Tensor]
Published = tuple[str, dict[str, torch.Tensor]]


def _image(encoder: Encoder, channels: int = 1) -> torch.Tensor:
    height, width = (32, 16) if encoder.size_multiple > 1 else (35, 34)  # odd and even: nothing divides by chance
    return torch.rand(1, channels, height, width)


def _repeated(image: torch.Tensor, depth: int) -> torch.Tensor:
    return image.unsqueeze(-1).repeat(1, 1, 1, 1, depth)


def _error(flat: Levels, deep: Levels) -> float:
    """Largest difference of any slice of any level, relative to the level's largest value; all shapes must agree."""
    assert [level.shape[:-1] for level in deep] == [level.shape for level in flat]
    pairs = zip(flat, deep, strict=True)
    return max(float((b - a.unsqueeze(-1)).abs().max() / a.abs().max()) for a, b in pairs)


@torch.no_grad()
def _invariant(encoder: Encoder, inflated: Encoder, image: torch.Tensor, depth: int) -> float:
    return _error(encoder(image), inflated(_repeated(image, depth)))


def _toy(architecture: str = "resnet18", in_channels: int = 1, stem: str = "fold") -> Encoder:
    torch.manual_seed(0)
    return build_imagenet_encoder(architecture, in_channels, stem).eval()


@pytest.fixture(scope="module", params=IMAGENET_ARCHITECTURES)
def published(request: pytest.FixtureRequest) -> Published:
    """Each architecture with a stand-in for its published file in which no tensor is constant."""
    return request.param, source_network(request.param).state_dict()


def test_a_volume_constant_along_depth_gives_the_2d_levels_in_every_slice(published: Published) -> None:
    """In float64, where what remains is no rounding."""
    encoder = filled(*published, 1, "fold").double()
    image = _image(encoder).double()
    for method in ("mean", "centre"):
        inflated = inflate(encoder, method)
        assert _invariant(encoder, inflated, image, 3) < 1e-10
        assert all(stride[2] == 1 for stride in inflated.strides)


def test_the_published_tensors_adapted_are_those_of_the_inflated_encoder(published: Published) -> None:
    encoder = filled(*published, 1, "fold")
    flat = encoder.state_dict()
    for method in ("mean", "centre", "acs"):
        inflated = inflate(encoder, method)
        state = inflated.state_dict()
        wanted = {name: tensor.shape for name, tensor in state.items()}
        adapted, words = adapt_state(without_head(published[1], published[0]), wanted, inflated.adaptation)
        assert set(adapted) == set(state)
        assert all(torch.equal(adapted[name], tensor) for name, tensor in state.items())
        changed = {name for name, tensor in state.items() if tensor.shape != flat[name].shape}
        assert changed <= set(words)
        if method == "acs":
            assert parameter_count(inflated) == parameter_count(encoder)
            assert all(name.endswith("layer_scale") for name in changed)


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_0", "mobilenet_v3_large", "convnext_tiny", "swin_t"])
def test_acs_levels_have_the_size_of_the_2d_levels(architecture: str) -> None:
    encoder = _toy(architecture)
    with torch.no_grad():
        levels = inflate(encoder, "acs")(_repeated(_image(encoder), 3))
        expected = [(*level.shape, 3) for level in encoder(_image(encoder))]
    assert [tuple(level.shape) for level in levels] == expected


@pytest.mark.parametrize(("stem", "channels"), [("fold", 3), ("fold", 2), ("replicate", 1), ("rgb", 3), ("sum", 2)])
@pytest.mark.parametrize("method", ["mean", "centre"])
def test_every_stem_goes_on_working(stem: str, channels: int, method: str) -> None:
    encoder = _toy("squeezenet1_0", channels, stem)
    assert _invariant(encoder, inflate(encoder, method), _image(encoder, channels), 4) < 1e-5


@pytest.mark.parametrize("method", ["mean", "centre"])
def test_real_weights_in_single_precision(method: str, real_weights: Path) -> None:
    path = real_weights / "squeezenet1_0" / "squeezenet1_0_imagenet.pth"
    encoder = filled("squeezenet1_0", torch.load(path, weights_only=True), 1, "fold")
    assert _invariant(encoder, inflate(encoder, method), _image(encoder), 5) < 1e-5


def _zero_padding_in_depth(inflated: Encoder) -> None:
    for layer in inflated.modules():
        if isinstance(layer, InflatedConv3d):
            layer.padding = (*layer.padding[:2], layer.front)
            layer.front = layer.back = 0


def _no_division(inflated: Encoder) -> None:
    for layer in inflated.modules():
        if isinstance(layer, InflatedConv3d):
            layer.weight.data *= layer.kernel_size[2]


def _fresh_statistics(inflated: Encoder) -> None:
    for layer in inflated.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.reset_running_stats()


@pytest.mark.parametrize("defect", [_zero_padding_in_depth, _no_division, _fresh_statistics])
def test_the_invariant_sees_planted_defects(defect: Callable[[Encoder], None]) -> None:
    encoder = filled("resnet18", source_network("resnet18").state_dict(), 1, "fold").double()
    inflated = inflate(encoder, "mean")
    assert _invariant(encoder, inflated, _image(encoder).double(), 5) < 1e-10
    defect(inflated)
    assert _invariant(encoder, inflated, _image(encoder).double(), 5) > 0.01


def test_zero_padding_loses_a_third_in_the_border_slices_of_one_layer() -> None:
    convolution = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False))
    image = torch.rand(1, 1, 6, 6)
    expected = convolution(image)
    inflate_modules(convolution, "mean")
    _zero_padding_in_depth(convolution)
    ratio = convolution(_repeated(image, 4)) / expected.unsqueeze(-1)
    torch.testing.assert_close(ratio.mean((0, 1, 2, 3)), torch.tensor([2 / 3, 1, 1, 2 / 3]))


@pytest.mark.parametrize("architecture", ["resnet18", "convnext_tiny", "swin_t"])
def test_centre_sees_each_slice_of_any_volume_as_the_2d_encoder_does(architecture: str) -> None:
    encoder = _toy(architecture)
    volume = torch.rand(1, 1, 40, 36, 3)
    with torch.no_grad():
        levels = inflate(encoder, "centre")(volume)
        slices = [encoder(volume[..., index]) for index in range(3)]
    for index, level in enumerate(levels):
        torch.testing.assert_close(level, torch.stack([each[index] for each in slices], -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["mean", "acs"])
def test_slices_mix(method: str) -> None:
    inflated = inflate(_toy(), method)
    volume = torch.rand(1, 1, 32, 32, 5)
    other = volume.clone()
    other[..., 1] += 1
    with torch.no_grad():
        assert not torch.allclose(inflated(volume)[0][..., 2], inflated(other)[0][..., 2])


@pytest.mark.parametrize("architecture", ["resnet18", "swin_t"])
def test_one_slice_is_enough(architecture: str) -> None:
    encoder = _toy(architecture)
    assert _invariant(encoder, inflate(encoder, "centre"), _image(encoder), 1) < 1e-5


@pytest.mark.parametrize("architecture", ["resnet18", "densenet121", "squeezenet1_0", "convnext_tiny", "vit_b_16"])
@pytest.mark.parametrize("method", ["mean", "acs"])
def test_depth_strided_as_in_plane(architecture: str, method: str) -> None:
    encoder = _toy(architecture)
    inflated = inflate(encoder, method, depth_stride="same")
    assert inflated.architecture.endswith("_same")
    assert all(len(set(strides)) == 1 for strides in inflated.strides)
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        flat, deep = encoder(image), inflated(_repeated(image, 32))
    assert all(len(set(level.shape[2:])) == 1 for level in deep)
    assert [level.shape[:-1] for level in deep] == [level.shape for level in flat]
    assert method == "acs" or _error(flat, deep) < 2e-5


@pytest.mark.parametrize("method", ["mean", "centre", "acs"])
@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_0", "mobilenet_v3_large"])
def test_the_gradient_reaches_every_parameter(architecture: str, method: str) -> None:
    inflated = inflate(_toy(architecture), method)
    sum(level.square().mean() for level in inflated(torch.rand(1, 1, 32, 32, 3))).backward()
    assert not [n for n, p in inflated.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


GRAPHS = [("resnet18", "mean"), ("squeezenet1_0", "acs"), ("densenet121", "mean"), ("efficientnet_b0", "mean")]
GRAPHS += [("swin_t", "mean"), ("vit_b_16", "mean")]


@pytest.mark.parametrize(("architecture", "method"), GRAPHS)
def test_scripts_and_exports(architecture: str, method: str) -> None:
    inflated, volume = inflate(_toy(architecture), method), torch.rand(1, 1, 32, 32, 2)
    with torch.no_grad():
        expected = inflated(volume)
        scripted = torch.jit.script(inflated)(volume)
        exported = torch.export.export(inflated, (volume,)).module()(volume)
    torch.testing.assert_close(scripted, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5)
