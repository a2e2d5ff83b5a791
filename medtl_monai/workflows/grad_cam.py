"""Grad-CAM of any classifier of the library: MONAI's computation, kept from leaving traces in the network."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.networks.utils import eval_mode
from monai.visualize import GradCAM
from torch import nn
from torch.func import functional_call

from medtl_monai.errors import ConfigError
from medtl_monai.lookup import look_up
from medtl_monai.networks.padding import crop_to, pad_to
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_classifier import TransferClassifier

LEAST = 4  # voxels of a feature map along every axis: with fewer it says hardly where
WORKING = "classifier_<encoder> of this library, or a convolutional classifier of a MONAI bundle"


@dataclass(frozen=True)
class FeatureMap:
    """A feature map inside a network.

    Attributes:
        module: name of the sub-module that gives it.
        level: its place in that module's output, where this is a list; None where the output is the map.
        size: its voxels along every spatial axis.
    """

    module: str
    level: int | None
    size: tuple[int, ...]


def find_feature_map(network: nn.Module, image: torch.Tensor, layer: str = "") -> FeatureMap:
    """The deepest feature map before the head that has :data:`LEAST` voxels or more along every axis of the image.

    In a :class:`TransferClassifier` these are the encoder's levels (transformers: the patch tokens, laid out as a map),
    in other staged networks whatever a sub-module outside the head gives.

    Args:
        network: gives logits ``(B, classes)``.
        image: ``(B, C, H, W[, D])``; only its first item is looked at.
        layer: name of a sub-module whose output is to be the map, ``(B, channels, ...)``; empty to have it found.

    Raises:
        ConfigError: no classifier, no such layer, or no such map.
    """
    require_explainable(network, layer)
    calls, logits = _calls(network, image[:1])
    if logits.dim() != 2:
        raise ConfigError("Grad-CAM explains classes", expected=WORKING, got=f"output with {logits.dim()} axes")
    if layer:
        found = [FeatureMap(layer, None, calls.sizes[layer])] if layer in calls.sizes else []
    elif isinstance(network, TransferClassifier):
        found = list(_levels(calls))
    else:
        found = list(_before_head(network, calls))
    lengths = image.shape[2:]
    for place in found:
        if len(place.size) == len(lengths) and all(
            voxels >= min(LEAST, length) for voxels, length in zip(place.size, lengths, strict=True)
        ):
            return place
    raise _no_map(
        network, layer or "deepest map", f"{by(found[0].size) if found else 'none'} for images of {by(lengths)}"
    )


def _no_map(network: nn.Module, sought: str, found: str) -> ConfigError:
    return ConfigError(
        "no feature map for Grad-CAM",
        expected=f"{WORKING}, with a map of {LEAST} or more voxels along every axis",
        got=f"{getattr(network, 'architecture', '') or type(network).__name__}, {sought}: {found}",
        remedy="enlarge the images (image_size), or name a layer that gives a map (layer)",
    )


def require_explainable(network: nn.Module, layer: str = "") -> None:
    """Refuse, before any image is seen, a network without stages where no layer is named, and an unknown layer.

    Raises:
        ConfigError: one of these.
    """
    if layer:
        look_up(dict(network.named_modules()), layer, "layer of the network")
    elif not isinstance(network, StagedNetwork):
        raise ConfigError(
            "the layer to look at cannot be found in this network",
            expected=WORKING,
            got=type(network).__name__,
            remedy="name the layer that gives the deepest feature map (layer)",
        )


@dataclass
class _Calls:
    """What the sub-modules that were called once gave, in the order in which they finished.

    Attributes:
        sizes: name -> spatial size, of those that gave one tensor ``(B, C, ...)``.
        outputs: their tensors, as far as anybody still holds them.
        levels: the feature maps of the sub-module ``encoder``.
        called: names of all that were called.
    """

    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: dict[str, weakref.ref[torch.Tensor]] = field(default_factory=dict)
    levels: list[torch.Tensor] = field(default_factory=list)
    called: set[str] = field(default_factory=set)

    def note(self, name: str, output: Any) -> None:
        again = name in self.called
        self.called.add(name)
        if isinstance(output, list) and name == "encoder":
            self.levels = output
        elif isinstance(output, torch.Tensor) and output.dim() > 2 and not again:
            self.sizes[name], self.outputs[name] = tuple(output.shape[2:]), weakref.ref(output)
        else:
            self.sizes.pop(name, None)


def _calls(network: nn.Module, image: torch.Tensor) -> tuple[_Calls, torch.Tensor]:
    calls = _Calls()
    with contextlib.ExitStack() as hooks, eval_mode(network):  # without gradients, too
        for name, module in network.named_modules():
            hook = module.register_forward_hook(lambda _, __, output, name=name: calls.note(name, output))
            hooks.callback(hook.remove)
        logits = network(image)
    return calls, logits


def _levels(calls: _Calls) -> Iterator[FeatureMap]:
    """The encoder's levels from deep to shallow; all but the deepest only where a sub-module gives them as they are."""
    last = len(calls.levels) - 1
    yield FeatureMap("encoder", last, tuple(calls.levels[last].shape[2:]))
    for level in reversed(calls.levels[:last]):
        names = [name for name in calls.sizes if calls.outputs[name]() is level]
        if names:
            yield FeatureMap(names[-1], None, calls.sizes[names[-1]])


def _before_head(network: nn.Module, calls: _Calls) -> Iterator[FeatureMap]:
    heads = tuple(f"{name}." for name in network.stages[network.head])
    for name in reversed(list(calls.sizes)):
        if not f"{name}.".startswith(heads):
            yield FeatureMap(name, None, calls.sizes[name])


def grad_cam(
    network: nn.Module, image: torch.Tensor, classes: Sequence[int], place: FeatureMap | None = None
) -> torch.Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of one class per image, computed by MONAI.

    The channels of a feature map, each weighted by the spatial mean of the class's gradient, summed; negative sums are
    0. The map is stretched linearly over the image, so it tells places no finer than its own voxels.

    The network stays as it was: mode, gradients, hooks, parameters. Its gradient is taken from the map to the class
    alone; what lies before the map keeps nothing in memory.

    Args:
        network: gives logits ``(B, classes)``.
        image: ``(B, C, H, W[, D])`` on the network's device.
        classes: one class number per image.
        place: from :func:`find_feature_map`; None to have it found.

    Returns:
        Heat ``(B, H, W[, D])``, float32, on the image's device: at most 1 in every image, 0 where nothing speaks for
        the class; all 0 where nothing does anywhere.

    Raises:
        ConfigError: as :func:`find_feature_map`.
    """
    image = torch.as_tensor(image.as_tensor() if hasattr(image, "as_tensor") else image)
    place = find_feature_map(network, image) if place is None else place
    with eval_mode(network):
        seen = pad_to(image, network.multiple, network.minimum) if isinstance(network, TransferClassifier) else image
        with torch.enable_grad():
            probed = _Probed(network, place, torch.tensor(classes, device=image.device))
            cam = GradCAM(probed, "feature_map", postprocessing=_as_it_is)
            heat = crop_to(cam(seen, class_idx=0).detach(), image)[:, 0].float()
    largest = heat.flatten(1).amax(dim=1).reshape(-1, *[1] * (heat.dim() - 1))
    return torch.where(largest == 0, heat, heat / largest)


def by(size: Sequence[int]) -> str:
    """A size in words: ``13 x 13``."""
    return " x ".join(str(length) for length in size)


def _as_it_is(heat: torch.Tensor) -> torch.Tensor:
    """In place of MONAI's default, which turns the map upside down: hot becomes 0."""
    return heat


class _Probed(nn.Module):
    """A network as GradCAM can have it: ``(B, 1)``, the logit of every image's own class; the map comes by.

    GradCAM leaves hooks on what it is given, clears gradients and adds new ones. Hence the network is in a tuple, which
    modules do not look into, its parameters are detached for the call, and the map passes through a module of ours.
    GradCAM's own choice of a class per image would add up the classes of the whole batch in every image.
    """

    def __init__(self, network: nn.Module, place: FeatureMap, classes: torch.Tensor) -> None:
        super().__init__()
        self.network, self.place, self.classes = (network,), place, classes
        self.feature_map = nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        (network,) = self.network
        detached = {name: parameter.detach() for name, parameter in network.named_parameters()}
        hook = network.get_submodule(self.place.module).register_forward_hook(self._reroute)
        try:
            logits = functional_call(network, detached, (image,))
        finally:
            hook.remove()
        return logits.gather(1, self.classes[:, None])

    def _reroute(self, module: nn.Module, inputs: object, output: Any) -> Any:
        if self.place.level is None:
            return self._through(output)
        maps = list(output)
        maps[self.place.level] = self._through(maps[self.place.level])
        return maps

    def _through(self, feature: torch.Tensor) -> torch.Tensor:
        # The copy is for activations that work in place: they would change what GradCAM has kept.
        return self.feature_map(feature.detach().requires_grad_()).clone()
