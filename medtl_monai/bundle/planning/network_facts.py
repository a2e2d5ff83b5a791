"""What a network asks for: intensities, axes, memory; found on a copy without values, which computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from medtl_monai.networks.factory import build_network

# Beside the activations kept for the backward pass: gradients in flight and the convolutions' work space.
WORK_SPACE = 1.5
BYTES_PER_PARAMETER = 16  # float32 weight, gradient, and the two moments of AdamW
SHARE = 0.75  # of the memory; the rest is for the libraries and the data


@dataclass(frozen=True)
class NetworkFacts:
    """What a network expects: ``intensity`` and ``orientation`` as its attributes say, and its number of parameters."""

    intensity: str
    orientation: str
    parameters: int


@lru_cache(maxsize=64)
def network_facts(name: str) -> NetworkFacts:
    """Facts of a network of the factory. Raises ConfigError for an unknown name."""
    network = _skeleton(name)
    return NetworkFacts(
        intensity=str(getattr(network, "intensity", "zscore")),
        orientation=str(getattr(network, "orientation", "") or "RAS"),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def step_bytes(name: str, size: Sequence[int], batch: int, out_channels: int) -> float:
    """Memory in bytes of one training step in float32 with AdamW.

    Args:
        name: the network.
        size: voxels of the input along each axis.
        batch: images in it.
        out_channels: classes.
    """
    kept = activation_bytes(name, tuple(size), out_channels)
    return WORK_SPACE * kept * batch + BYTES_PER_PARAMETER * network_facts(name).parameters


@lru_cache(maxsize=1024)
def activation_bytes(name: str, size: tuple[int, ...], out_channels: int) -> float:
    """Bytes per image that autograd keeps for the backward pass, counted on two images (batch norm needs two)."""
    with torch.device("meta"):
        network = _skeleton(name, out_channels).train()
        own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        kept: dict[int, int] = {}
        alive = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            alive.append(tensor)  # a freed storage would lend its number to another
            if storage._cdata not in own:
                kept[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(torch.empty(2, 1, *size))
    return sum(kept.values()) / 2


def fits(name: str, size: Sequence[int], batch: int, out_channels: int, memory_gb: float) -> bool:
    """Whether a training step fits into `SHARE` of the memory (in 10**9 bytes)."""
    return step_bytes(name, size, batch, out_channels) <= SHARE * memory_gb * 1e9


@lru_cache(maxsize=64)
def _skeleton(name: str, out_channels: int = 2) -> nn.Module:
    with torch.device("meta"):
        return build_network(name, out_channels=out_channels)
