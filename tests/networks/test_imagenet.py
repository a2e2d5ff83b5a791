"""2D encoders against torchvision's own networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from imagenet_sources import filled, normalised, source_network, without_head
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES, build_imagenet_encoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.source_head import SourceClassifier, build_source_head

ALL = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_b3",
    "vgg16_bn",
    "squeezenet1_0",
    "mobilenet_v3_large",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
]
SIBLINGS = {"resnet34", "resnet101", "resnext50_32x4d", "efficientnet_b3"}  # the modules of a smaller one, more of them


@dataclass(frozen=True)
class Source:
    """A published network and the encoder filled from its state."""

    architecture: str
    network: nn.Module
    state: dict[str, torch.Tensor]
    encoder: ImageNetEncoder


@pytest.fixture(scope="module", params=ALL)
def source(request: pytest.FixtureRequest) -> Source:
    network = source_network(request.param)
    state = dict(network.state_dict())
    return Source(request.param, network, state, filled(request.param, state, 3, "rgb"))


def image(channels: int, height: int, width: int) -> torch.Tensor:
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(3))


def stem_output(encoder: ImageNetEncoder, image: torch.Tensor) -> torch.Tensor:
    return encoder.get_submodule(encoder.stem_convolution)(encoder.adapter(image))


def halved(length: int, times: int, rule: Callable[[float], int] = math.ceil) -> int:
    for _ in range(times):
        length = rule(length / 2)
    return length


def test_all_fourteen_are_there() -> None:
    assert sorted(IMAGENET_ARCHITECTURES) == sorted(ALL)


def test_the_tensors_are_torchvisions_without_the_head(source: Source) -> None:
    own = {name: tensor.shape for name, tensor in source.encoder.state_dict().items()}
    assert own == {name: tensor.shape for name, tensor in without_head(source.state, source.architecture).items()}


@torch.no_grad()
def test_logits_are_torchvisions(source: Source) -> None:
    with torch.device("meta"):
        head = build_source_head(source.architecture).eval()
    own = source.encoder.state_dict()
    head.load_state_dict({n: t for n, t in source.state.items() if n not in own}, strict=True, assign=True)
    rgb = normalised(image(3, *((224, 224) if source.architecture == "vit_b_16" else (64, 96))))
    logits, wanted = SourceClassifier(source.encoder, head)(rgb), source.network(rgb)
    assert wanted.shape == (1, 1000)
    assert wanted.std() > 1e-3, "nothing to compare"
    assert torch.equal(logits, wanted)


@torch.no_grad()
def test_a_folded_grey_stem_gives_what_the_published_one_gives(source: Source) -> None:
    folded = filled(source.architecture, source.state, 1, "fold")
    assert folded.adaptation == {f"{folded.stem_convolution}.weight": ("fold",)}
    grey = image(1, 64, 96)
    own, wanted = stem_output(folded, grey), stem_output(source.encoder, normalised(grey))
    assert wanted.std() > 1e-2, "nothing to compare"
    assert (own - wanted).abs().max() <= 1e-5


@torch.no_grad()
def test_levels_have_the_sizes_they_claim(source: Source) -> None:
    encoder = source.encoder
    levels = encoder(image(3, 64, 96))
    assert len(levels) == len(encoder.channels) == len(encoder.strides)
    assert tuple(level.shape[1] for level in levels) == encoder.channels
    sizes = [tuple(level.shape[2:]) for level in levels]
    if source.architecture == "squeezenet1_0":  # unpadded stem of 7, pools of 3 that round up
        assert sizes == [(29, 45), (14, 22), (7, 11), (3, 5)]
    else:
        assert sizes == [(64 // high, 96 // wide) for high, wide in encoder.strides]


@torch.no_grad()
def test_odd_lengths(source: Source) -> None:
    encoder, name = source.encoder, source.architecture
    if name == "vit_b_16":
        with pytest.raises(ConfigError, match=r"multiples of 16, got 33 x 47; pad the image"):
            encoder(image(3, 33, 47))
        return
    sizes = [tuple(level.shape[2:]) for level in encoder(image(3, 33, 47))]
    steps = [round(math.log2(stride)) for stride, _ in encoder.strides]
    if name == "densenet121":  # the stem pads, the transitions' pools do not
        wanted = [tuple(halved(halved(n, min(s, 2)), s - min(s, 2), math.floor) for n in (33, 47)) for s in steps]
    elif name in ("vgg16_bn", "convnext_tiny"):
        wanted = [(33 // stride, 47 // stride) for stride, _ in encoder.strides]
    elif name == "swin_t":  # patches of 4 do not pad, the merging does
        wanted = [(halved(33 // 4, s - 2), halved(47 // 4, s - 2)) for s in steps]
    elif name == "squeezenet1_0":
        wanted = [(14, 21), (7, 10), (3, 5), (1, 2)]
    else:
        wanted = [(math.ceil(33 / stride), math.ceil(47 / stride)) for stride, _ in encoder.strides]
    assert sizes == wanted


@torch.no_grad()
def test_the_smallest_size_is_the_smallest(source: Source) -> None:
    smallest = source.encoder.min_size
    assert all(level.numel() for level in source.encoder(image(3, smallest, smallest)))
    if smallest > 1:
        with pytest.raises((RuntimeError, ConfigError)):
            source.encoder(image(3, smallest - 1, smallest - 1))


@torch.no_grad()
def test_later_layers_leave_the_levels_alone(source: Source) -> None:
    """Published activations work in place: every level must still be what its layer gave."""
    encoder = source.encoder
    if source.architecture == "vit_b_16":
        layers = [encoder.get_submodule(f"encoder.layers.encoder_layer_{i}") for i in (2, 5, 8)]
    elif source.architecture.startswith("resn"):
        layers = [encoder.relu, encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4]
    else:
        layers = [encoder.features[index] for index in encoder.taps]
    given: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda _, __, output: given.append(output.clone())) for layer in layers]
    levels = encoder(image(3, 64, 64))
    for hook in hooks:
        hook.remove()
    for index, (level, before) in enumerate(zip(levels, given, strict=False)):
        if index == len(levels) - 1 and source.architecture in ("densenet121", "swin_t"):
            continue  # an activation or a norm follows
        if source.architecture == "vit_b_16":
            assert torch.equal(level.flatten(2), before[:, 1:].transpose(1, 2))
        else:
            assert torch.equal(level, before.permute(0, 3, 1, 2) if source.architecture == "swin_t" else before)


def test_every_parameter_is_in_one_stage(source: Source) -> None:
    encoder = source.encoder
    seen = [id(parameter) for stage in encoder.stages for parameter in encoder.stage_parameters(stage)]
    assert sorted(seen) == sorted(id(parameter) for parameter in encoder.parameters())
    word = "layer" if source.architecture.startswith("resn") else "stage"
    assert list(encoder.stages) == ["stem", *(f"{word}{i}" for i in range(1, len(encoder.stages)))]
    assert {encoder.stage_of(name) for name in encoder.state_dict()} == set(encoder.stages)
    assert encoder.stage_of(f"{encoder.stem_convolution}.weight") == "stem"


def test_the_first_level_needs_only_the_first_stages(source: Source) -> None:
    encoder = source.encoder
    encoder.zero_grad()
    encoder(image(3, 32, 32))[0].sum().backward()
    reached = {encoder.stage_of(name) for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    assert reached in ({"stem"}, {"stem", list(encoder.stages)[1]})


def test_gradient_reaches_every_parameter(source: Source) -> None:
    encoder = source.encoder
    encoder.zero_grad()
    weights = torch.Generator().manual_seed(5)
    sum((level * torch.randn(level.shape, generator=weights)).sum() for level in encoder(image(3, 64, 96))).backward()
    still = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    encoder.zero_grad()
    assert not still


@pytest.mark.parametrize("architecture", [name for name in ALL if name not in SIBLINGS])
@torch.no_grad()
def test_scripted_and_exported_networks_give_the_same(architecture: str) -> None:
    grey = image(1, 64, 96)
    encoder = build_imagenet_encoder(architecture, 1, "fold").eval()
    scripted, exported = torch.jit.script(encoder), torch.export.export(encoder, (grey,)).module()
    for own, first, second in zip(encoder(grey), scripted(grey), exported(grey), strict=True):
        torch.testing.assert_close(first, own)
        torch.testing.assert_close(second, own)


@pytest.mark.parametrize(
    ("architecture", "in_channels", "stem", "text"),
    [
        ("resnet19", 1, "fold", "unknown 2D encoder; expected one of resnet18, .*, got resnet19; did you mean"),
        ("resnet18", 1, "gray", "unknown stem; expected one of rgb, fold, replicate, sum, got gray; 'fold' takes"),
        ("resnet18", 0, "fold", "expected at least 1 channel, got 0; 'fold' and 'sum' take any number"),
        ("resnet18", -1, "sum", "expected at least 1 channel, got -1"),
        ("resnet18", 1, "rgb", "expected 3 channels, got 1; 'fold' and 'sum'"),
        ("resnet18", 3, "replicate", "expected 1 channel"),
    ],
)
def test_wrong_settings_are_refused(architecture: str, in_channels: int, stem: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_imagenet_encoder(architecture, in_channels, stem)


@torch.no_grad()
def test_vit_resamples_its_positions_only_where_it_must() -> None:
    encoder = build_imagenet_encoder("vit_b_16", 1).eval()
    published = encoder.encoder.pos_embedding
    assert encoder.positions(14, 14) is published
    y, x = torch.meshgrid(torch.linspace(-1, 1, 14), torch.linspace(-1, 1, 14), indexing="ij")
    published[0, 1:, 0], published[0, 1:, 1] = y.flatten(), x.flatten()
    wide = encoder.positions(5, 9)
    assert torch.equal(wide[:, :1], published[:, :1]), "the class token has no place in the grid"
    rows, columns = wide[0, 1:, 0].reshape(5, 9), wide[0, 1:, 1].reshape(5, 9)
    assert rows.std(dim=1).max() < 1e-5
    assert columns.std(dim=0).max() < 1e-5
    centres = (2 * torch.arange(5) + 1) / 5 * 7 - 7  # of 5 equal parts of 14 cells, from the middle
    torch.testing.assert_close(rows[1:-1, 0], centres[1:-1] / 6.5, atol=0.01, rtol=0)
