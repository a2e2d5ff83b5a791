"""The published head on top of an encoder: the source network again, and the proof that the encoder is faithful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn
from torchvision import models

from medtl_monai.errors import WeightsError
from medtl_monai.lookup import look_up
from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.stem import ReplicateAndNormalise

_Layers = tuple[tuple[Callable[[], nn.Module], ...], tuple[Callable[[], nn.Module], ...]]

# Architecture -> name of the published head: its tensors are "<name>.<...>".
SOURCE_HEADS = {
    **dict.fromkeys(IMAGENET_ARCHITECTURES, "classifier"),
    **dict.fromkeys((name for name in IMAGENET_ARCHITECTURES if name.startswith("resn")), "fc"),
    "swin_t": "head",
    "vit_b_16": "heads",
}
# Layers without tensors before and after that head, where they are not a mean over space and a flattening before it.
_POOL, _FLATTEN = partial(nn.AdaptiveAvgPool2d, 1), partial(nn.Flatten, 1)
_POOLED: _Layers = ((_POOL, _FLATTEN), ())
_SURROUNDINGS: dict[str, _Layers] = {
    "vgg16_bn": ((partial(nn.AdaptiveAvgPool2d, 7), _FLATTEN), ()),
    "squeezenet1_0": ((), (_FLATTEN,)),
    "convnext_tiny": ((_POOL,), ()),
    "vit_b_16": ((), ()),
}
_SIZE = (96, 128)  # not square, so that swapped axes would show
_VIT_SIZE = (224, 224)  # torchvision's ViT takes no other
_SEED = 2025
_LONGEST = 400  # characters of PyTorch's own account in an error; it names every tensor


def _head_name(architecture: str) -> str:
    return look_up(SOURCE_HEADS, architecture, "architecture of a published head")


def build_source_head(architecture: str) -> nn.Sequential:
    """The published ImageNet head of a 2D encoder, with torchvision's initial weights and tensor names.

    It takes ``encoder.source_features(image)`` and gives logits ``(B, 1000)``. Raises ConfigError on an unknown name.
    """
    name = _head_name(architecture)
    before, after = _SURROUNDINGS.get(architecture, _POOLED)
    head = nn.Sequential()
    for index, layer in enumerate(before):
        head.add_module(f"before{index}", layer())
    head.add_module(name, models.get_model(architecture, weights=None).get_submodule(name))
    for index, layer in enumerate(after):
        head.add_module(f"after{index}", layer())
    return head


class SourceClassifier(nn.Module):
    """The published network: an encoder and its published head.

    Args:
        encoder: a 2D encoder.
        head: that of the same architecture, see :func:`build_source_head`.
    """

    def __init__(self, encoder: ImageNetEncoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, 1000)`` of an image ``(B, encoder.in_channels, H, W)``."""
        return self.head(self.encoder.source_features(image))


@torch.no_grad()
def parity(encoder: ImageNetEncoder, state: Mapping[str, torch.Tensor], architecture: str) -> float:
    """How far an encoder that has been filled from ``state`` is from the published network: 0 is perfect.

    torchvision's network, filled strictly with ``state``, and ``encoder`` with the published head see the same random
    image in [0, 1], in evaluation mode. torchvision's gets it as it was trained to: normalised; where the encoder takes
    another number of channels, grey (their mean) and three times. For stem ``sum`` both get it unnormalised.

    Args:
        encoder: the filled encoder; it comes back in the mode it was in.
        state: all tensors as published, the head's too, under torchvision's names.
        architecture: torchvision's name of the network.

    Returns:
        The largest absolute difference of the logits, divided by the largest absolute logit where that is above 1:
        rounding grows with the logits. NaN if a logit is not finite.

    Raises:
        ConfigError: an architecture that torchvision does not have here.
        WeightsError: ``state`` does not fill torchvision's network.
    """
    head_name = _head_name(architecture)
    any_parameter = next(encoder.parameters())
    device, dtype = any_parameter.device, any_parameter.dtype
    with torch.device("meta"):  # no initial weights: every tensor is taken over from ``state``
        reference, head = models.get_model(architecture, weights=None), build_source_head(architecture)
    _assign(reference, state, architecture)
    _assign(head, {n: t for n, t in state.items() if n.startswith(f"{head_name}.")}, architecture)
    own, published = _image_pair(encoder, _VIT_SIZE if architecture == "vit_b_16" else _SIZE)
    training = encoder.training
    logits = SourceClassifier(encoder, head.to(device)).eval()(own.to(device, dtype)).double()
    encoder.train(training)
    wanted = reference.to(device).eval()(published.to(device, dtype)).double()
    return float((logits - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def _assign(network: nn.Module, state: Mapping[str, torch.Tensor], architecture: str) -> None:
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"these are not the published weights of {architecture!r}",
            expected="every tensor of torchvision's network, and no other",
            got=" ".join(str(error).split())[:_LONGEST],
            remedy="fetch the published file again",
        ) from error


def _image_pair(encoder: ImageNetEncoder, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A random image as the encoder takes it, and the same one as torchvision's network takes it."""
    generator = torch.Generator().manual_seed(_SEED)
    image = torch.rand((1, encoder.in_channels, *size), generator=generator)
    rgb = image if encoder.in_channels == 3 and encoder.stem_mode != "sum" else image.mean(dim=1, keepdim=True)
    if encoder.stem_mode == "sum":
        return image, rgb.expand(-1, 3, -1, -1)
    normalised = ReplicateAndNormalise()(rgb)
    return (normalised if encoder.stem_mode == "rgb" else image), normalised
