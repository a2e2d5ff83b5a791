"""Labelled images as the fitting of a head takes them: one at a time, without augmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.param_groups import source_stages


@dataclass(frozen=True)
class Example:
    """One case.

    Attributes:
        case: its name.
        patient: whom it is of; cases of one patient stay together in every cross-validation.
        image: ``(1, C, H, W[, D])``.
        label: class number ``(1,)``, or label map ``(1, 1, H, W[, D])``.
    """

    case: str
    patient: str
    image: torch.Tensor
    label: torch.Tensor


@dataclass(frozen=True)
class Kept:
    """What the task's stages need of one example.

    Attributes:
        example: the case, its image and label on the network's device.
        features: what the frozen stages make of the image.
    """

    example: Example
    features: list[torch.Tensor]


@contextmanager
def body_frozen(network: StagedNetwork) -> Iterator[None]:
    """The source's stages frozen and the network in evaluation mode; afterwards stages and mode are as before."""
    frozen, training = network.frozen_stages, network.training
    try:
        network.freeze(source_stages(network))
        network.eval()
        yield
    finally:
        network.freeze(frozen)
        network.train(training)


@torch.no_grad()
def kept_features(network: StagedNetwork, examples: Iterable[Example]) -> list[Kept]:
    """Run the source's stages once over every example; call it inside :func:`body_frozen`.

    Raises:
        ConfigError: the network's two halves do not give its output.
        DataError: there are no examples, or features that are not finite; all such cases are named.
    """
    device = next(network.parameters()).device
    kept: list[Kept] = []
    for example in examples:
        image, label = (plain(tensor).to(device) for tensor in (example.image, example.label))
        features = network.task_input(image)
        if not kept:
            _require_halves(network, features, image)
        kept.append(Kept(Example(example.case, example.patient, image, label), features))
    require_finite(kept)
    return kept


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Without MONAI's metadata, which would slow every operation down."""
    return tensor.as_subclass(torch.Tensor)


def require_finite(kept: Sequence[Kept]) -> None:
    """Raise DataError without examples, or naming those whose features are not finite."""
    if not kept:
        raise DataError("no examples to fit a head on", expected="one labelled case or more", got="none")
    broken = [one.example.case for one in kept if not all(bool(torch.isfinite(maps).all()) for maps in one.features)]
    if broken:
        raise DataError(
            "features are not finite",
            expected="finite features",
            got="cases " + ", ".join(broken),
            remedy="look for NaN in the image or in the weights",
        )


def _require_halves(network: StagedNetwork, features: list[torch.Tensor], image: torch.Tensor) -> None:
    whole, halves = network(image), network.task_output(features, image)
    if whole.shape != halves.shape or not torch.allclose(
        whole, halves, rtol=1e-4, atol=1e-5 * float(whole.abs().max())
    ):
        raise ConfigError(
            f"network {network.architecture!r} does more after its head than the head",
            expected="an output that is the head's",
            remedy="choose a strategy without a fitted head, such as `--strategy fine_tune`",
        )
