"""The ways of `networks/stem.py`: what the first convolution sees and gives, up to the border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from imagenet_sources import filled, normalised, source_network
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.stem import AppendOnes, ReplicateAndNormalise, adapt_stem
from medtl_monai.weights.stem import fold_normalisation

SMALL = ("resnet18", "mobilenet_v3_large", "squeezenet1_0")  # stems 7x7 padded, 3x3 padded, 7x7 with bias and unpadded
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    return {name: dict(source_network(name).state_dict()) for name in SMALL}


def image(channels: int) -> torch.Tensor:
    return torch.rand((2, channels, 64, 48), generator=torch.Generator().manual_seed(4))


def stem_output(encoder: ImageNetEncoder, image: torch.Tensor) -> torch.Tensor:
    return encoder.get_submodule(encoder.stem_convolution)(encoder.adapter(image))


def as_rgb(image: torch.Tensor) -> torch.Tensor:
    return image if image.shape[1] == 3 else image.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize(("stem", "channels"), [("fold", 1), ("fold", 2), ("fold", 3), ("fold", 4), ("replicate", 1)])
@torch.no_grad()
def test_raw_images_give_the_published_response_everywhere(
    states: dict[str, State], architecture: str, stem: str, channels: int
) -> None:
    published = filled(architecture, states[architecture], 3, "rgb")
    own = filled(architecture, states[architecture], channels, stem)
    assert (own.in_channels, own.intensity, own.stem_mode) == (channels, "unit", stem)
    difference = (stem_output(own, image(channels)) - stem_output(published, normalised(as_rgb(image(channels))))).abs()
    assert difference.max() <= (1e-5 if stem == "fold" else 0)


@torch.no_grad()
def test_a_bias_instead_of_the_ones_fails_at_the_border(states: dict[str, State]) -> None:
    """The defect that the channel of ones is there to avoid."""
    published = filled("resnet18", states["resnet18"], 3, "rgb")
    folded = fold_normalisation(states["resnet18"]["conv1.weight"], 1)
    naive = F.conv2d(image(1), folded[:, :1], bias=folded[:, 1].sum(dim=(1, 2)), stride=2, padding=3)
    difference = (naive - stem_output(published, normalised(as_rgb(image(1))))).abs()
    assert difference[:, :, 2:-2, 2:-2].max() <= 1e-5, "right inside"
    for border in (difference[:, :, 0], difference[:, :, -1], difference[:, :, :, 0], difference[:, :, :, -1]):
        assert border.max() > 0.1


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_the_sum_answers_a_grey_image_as_before(states: dict[str, State], architecture: str, channels: int) -> None:
    own = filled(architecture, states[architecture], channels, "sum")
    assert (own.in_channels, own.intensity) == (channels, "imagenet")
    grey = image(1)
    wanted = stem_output(filled(architecture, states[architecture], 3, "rgb"), grey.expand(-1, 3, -1, -1))
    assert (stem_output(own, grey.expand(-1, channels, -1, -1)) - wanted).abs().max() <= 1e-5


@pytest.mark.parametrize(("stem", "channels"), [("rgb", 3), ("fold", 1), ("fold", 5), ("replicate", 1), ("sum", 2)])
def test_adapters_have_no_tensors_of_their_own(states: dict[str, State], stem: str, channels: int) -> None:
    encoder = build_imagenet_encoder("squeezenet1_0", channels, stem)
    assert set(encoder.state_dict()) == {n for n in states["squeezenet1_0"] if not n.startswith("classifier.")}
    rules = {"features.0.weight": (stem,)} if stem in ("fold", "sum") else {}
    assert encoder.adaptation == rules


@pytest.mark.parametrize(("stem", "channels"), [("rgb", 3), ("fold", 3), ("replicate", 1), ("sum", 2)])
@torch.no_grad()
def test_every_way_scripts_and_exports(stem: str, channels: int) -> None:
    encoder = build_imagenet_encoder("squeezenet1_0", channels, stem).eval()
    wanted, exported = encoder(image(channels)), torch.export.export(encoder, (image(channels),)).module()
    torch.testing.assert_close(torch.jit.script(encoder)(image(channels)), wanted)
    torch.testing.assert_close(exported(image(channels)), wanted)


@torch.no_grad()
def test_fresh_weights_are_adapted_too() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rgb = build_imagenet_encoder("squeezenet1_0", 3, "rgb")
        torch.manual_seed(0)
        folded = build_imagenet_encoder("squeezenet1_0", 1, "fold")
    for own, wanted in zip(folded.eval()(image(1)), rgb.eval()(normalised(as_rgb(image(1)))), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_the_new_stem_is_trained() -> None:
    encoder = build_imagenet_encoder("resnet18", 2, "fold")
    assert encoder.conv1.in_channels == 3
    encoder(image(2))[-1].sum().backward()
    assert (encoder.conv1.weight.grad.abs().amax(dim=(0, 2, 3)) > 0).all(), "the ones' weights as well"


@pytest.mark.parametrize("dims", [2, 3])
def test_adapters_work_in_any_number_of_dimensions(dims: int) -> None:
    grey = torch.rand(2, 1, *(4, 5, 6)[:dims])
    assert torch.equal(AppendOnes()(grey), torch.cat([grey, torch.ones_like(grey)], dim=1))
    rgb = ReplicateAndNormalise()(grey)
    assert rgb.shape == (2, 3, *(4, 5, 6)[:dims])
    for colour, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        torch.testing.assert_close(rgb[:, colour], (grey[:, 0] - mean) / std)


def test_only_plain_convolutions_are_replaced() -> None:
    class Odd(ImageNetEncoder):
        def __init__(self) -> None:
            super().__init__("odd", "stem")
            self.stem = nn.Conv3d(3, 4, 3)

    with pytest.raises(ConfigError, match="'stem' of 'odd' is not a plain 2D convolution"):
        adapt_stem(Odd(), 1, "fold")
