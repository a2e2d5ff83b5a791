"""What an inflated encoder keeps of the 2D one, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.networks.inflate import inflate, inflate_modules
from medtl_monai.networks.slicewise import SlicewiseViTEncoder


def _toy(architecture: str = "resnet18") -> Encoder:
    torch.manual_seed(0)
    return build_imagenet_encoder(architecture, 1, "fold").eval()


@pytest.mark.parametrize(("method", "suffix"), [("mean", "i3d"), ("centre", "centre"), ("acs", "acs")])
def test_what_is_known_of_the_encoder_comes_along(method: str, suffix: str) -> None:
    encoder = _toy()
    encoder.bn1.momentum, encoder.bn1.eps = 0.03, 0.007
    encoder.train()
    encoder.freeze(["stem", "layer1"])
    before = copy.deepcopy(encoder.state_dict())
    inflated = inflate(encoder, method)
    assert inflated.architecture == f"resnet18_{suffix}"
    assert (inflated.spatial_dims, inflated.in_channels, inflated.intensity) == (3, 1, "unit")
    assert list(inflated.state_dict()) == list(before)
    assert (inflated.stages, inflated.channels) == (encoder.stages, encoder.channels)
    assert (inflated.bn1.momentum, inflated.bn1.eps) == (0.03, 0.007)
    assert inflated.frozen_stages == ("stem", "layer1")
    assert [p.requires_grad for p in inflated.parameters()] == [p.requires_grad for p in encoder.parameters()]
    assert [m.training for m in inflated.modules()] == [m.training for m in encoder.modules()]
    owners = [stage for stage in inflated.stages for _ in inflated.stage_parameters(stage)]
    assert len(owners) == len(list(inflated.parameters()))
    with torch.no_grad():
        for tensor in inflated.state_dict().values():
            tensor.zero_()
    assert encoder.spatial_dims == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


class _WithUnknownLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shuffle, self.up = nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.ConvTranspose2d(1, 1, 2)


def test_layers_without_a_counterpart_are_named_and_nothing_changes() -> None:
    network = _WithUnknownLayers()
    with pytest.raises(ConfigError, match="ConvTranspose2d, PixelShuffle"):
        inflate_modules(network, "mean")
    assert type(network.conv) is nn.Conv2d


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(1, 1, 3, padding="same"), "zero padding"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "zero padding"),
        (nn.AdaptiveAvgPool2d(7), "adaptive pool"),
        (nn.AvgPool2d(3, 2, padding=1), "average pool"),
        (nn.AvgPool2d(2, divisor_override=3), "average pool"),
    ],
)
def test_layers_that_cannot_be_exact_are_refused(layer: nn.Module, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        inflate_modules(nn.Sequential(layer), "mean", "same")


@pytest.mark.parametrize(
    ("architecture", "method", "depth_stride", "words"),
    [
        ("resnet18", "median", "one", "unknown method"),
        ("resnet18", "mean", "two", "unknown depth_stride"),
        ("swin_t", "mean", "same", "within slices"),
    ],
)
def test_impossible_choices_are_refused(architecture: str, method: str, depth_stride: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        inflate(_toy(architecture), method, depth_stride)


def test_a_3d_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="2D encoder"):
        inflate(inflate(_toy("squeezenet1_0")))


def test_vit_refuses_slices_that_do_not_divide_and_averages_its_class_token() -> None:
    encoder = _toy("vit_b_16")
    inflated = inflate(encoder)
    assert isinstance(inflated, SlicewiseViTEncoder)
    with pytest.raises(ConfigError, match="not divide into patches"):
        inflated(torch.rand(1, 1, 40, 32, 2))
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        token = inflated.source_features(image.unsqueeze(-1).repeat(1, 1, 1, 1, 2))
        torch.testing.assert_close(token, encoder.source_features(image), rtol=1e-3, atol=1e-4)
