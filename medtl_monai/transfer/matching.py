"""A source's tensors under the names and shapes of the network that they are to fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.weights.adapt import adapt_state

# What surrounds an encoder in a network of this library.
FRESH_PARTS = ("decoder", "head_conv", "dense_head", "class_head")
State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Candidate:
    """A state dict ready to be matched with a network.

    Attributes:
        state: tensors under the network's names.
        new_head: sub-modules of the network that the task trains anew, and of the source that it leaves behind.
        adapted: name -> how its tensor was adapted.
    """

    state: State
    new_head: tuple[str, ...]
    adapted: Mapping[str, str] = field(default_factory=dict)


def encoder_of(network: StagedNetwork) -> Encoder | None:
    """The encoder inside a network, or None."""
    encoder = getattr(network, "encoder", None)
    return encoder if isinstance(encoder, Encoder) else None


def fresh_parts(network: StagedNetwork) -> tuple[str, ...]:
    """The sub-modules that a new task trains from initial weights."""
    return tuple(name for stage in network.task_stages for name in network.stages[stage])


def has_published_names(encoder: Encoder, state: State) -> bool:
    """Whether a file's tensors are named as the encoder's publisher names them, not as a network around it does."""
    own = set(encoder.state_dict())
    return 2 * len(own & set(state)) > len(own)


def for_encoder(network: StagedNetwork, encoder: Encoder, published: State, heads: Sequence[str]) -> Candidate:
    """Published tensors for the encoder of a network, adapted where the encoder says so.

    Args:
        network: the network that holds ``encoder``.
        encoder: it has the published names.
        published: tensors as published, head included.
        heads: sub-modules of the published head.
    """
    wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    state, adapted = adapt_state(published, wanted, encoder.adaptation)
    return Candidate(
        state={f"encoder.{name}": tensor for name, tensor in state.items()},
        new_head=(*fresh_parts(network), *(f"encoder.{head}" for head in heads)),
        adapted={f"encoder.{name}": words for name, words in adapted.items()},
    )


def for_same_network(network: StagedNetwork, state: State) -> Candidate:
    """The state dict of a network with the same encoder, or of the same architecture where there is none.

    The fresh parts are taken over when all of them fit, and left behind otherwise, so that the encoder of a trained
    segmentation network serves a classifier.
    """
    parts = fresh_parts(network) if encoder_of(network) is None else FRESH_PARTS
    prefixes = tuple(f"{name}." for name in parts)
    own, other = (
        {name: tensor.shape for name, tensor in tensors.items() if name.startswith(prefixes)}
        for tensors in (network.state_dict(), state)
    )
    return Candidate(state, new_head=() if own == other else parts)
