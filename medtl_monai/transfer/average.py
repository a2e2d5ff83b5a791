"""The average of a network's weights along its training (EMA)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.soup import State, require_same_tensors

_POWER = 2.0 / 3.0  # of the warm-up in timm's ModelEmaV3


def warm_decay(updates: int, decay: float) -> float:
    """Decay of the next update after ``updates`` of them: ``min(decay, 1 - (1 + updates) ** (-2 / 3))``.

    0 at the first, .954 after 100, .990 after 1,000, .998 after 10,000: a short training does not end in an average
    that is still full of its initial weights, as it would with a fixed .999 or .9999.
    """
    return min(decay, 1.0 - (1.0 + updates) ** -_POWER)


class MovingAverage:
    """Exponential moving average of a network's weights; the network itself is not touched by it.

    Parameters are averaged, buffers (running statistics, counters) are copied: statistics are a moving average already.
    The average is kept in float32 at least. Parameters that stand still are kept bit by bit. On a network with LoRA
    adapters the factors are averaged, not their products.

    Args:
        network: where the average starts; give the same network (or one with the same names) to the other methods.
        decay: share of the old average that stays at an update once the warm-up is over, see :func:`warm_decay`.

    Attributes:
        updates: number of updates so far.

    Raises:
        ConfigError: decay outside [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.9999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError("decay of the moving average out of range", expected="0 <= decay < 1", got=decay)
        self.decay = decay
        self.updates = 0
        self._averages = {name: _wide(tensor) for name, tensor in network.named_parameters()}
        self._buffers = {name: tensor.detach().clone() for name, tensor in network.named_buffers()}
        self._applied = False

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimiser step.

        Raises ConfigError if the network has other tensors, or inside :meth:`applied`: it has the average then.
        """
        self._require_free()
        live = self._tensors_of(network)
        share = 1.0 - warm_decay(self.updates, self.decay)
        for name, average in self._averages.items():
            average.lerp_(live[name].to(average), share)
        for name, buffer in self._buffers.items():
            buffer.copy_(live[name])
        self.updates += 1

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[nn.Module]:
        """Inside the block the network has the averaged weights; after it, also after an error, its own, bit by bit.

        To save the averaged model: ``with average.applied(network): state = merged_state(network)`` (a copy;
        ``state_dict()`` would turn back into the live weights after the block). Raises ConfigError if the network has
        other tensors, or inside another such block.
        """
        self._require_free()
        live = self._tensors_of(network)
        own = {name: tensor.detach().clone() for name, tensor in live.items()}
        self._applied = True
        try:
            _copy({**self._averages, **self._buffers}, live)
            yield network
        finally:
            _copy(own, live)
            self._applied = False

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: ``updates``, ``averages`` and ``buffers``; the tensors are not copied."""
        return {"updates": self.updates, "averages": dict(self._averages), "buffers": dict(self._buffers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Raises WeightsError, before anything changes, if it is of another network."""
        for key, own in (("averages", self._averages), ("buffers", self._buffers)):
            require_same_tensors({"this network": own, "the saved average": state[key]})
        for key, own in (("averages", self._averages), ("buffers", self._buffers)):
            _copy(state[key], own)
        self.updates = int(state["updates"])

    def _require_free(self) -> None:
        if self._applied:
            raise ConfigError("the network holds its averaged weights", remedy="leave the block `applied` first")

    def _tensors_of(self, network: nn.Module) -> dict[str, torch.Tensor]:
        live = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        known = {**self._averages, **self._buffers}
        odd = sorted(set(live) ^ set(known)) or [name for name in live if live[name].shape != known[name].shape]
        if odd:
            raise ConfigError(
                "the network is not the one that this average began with",
                expected=f"{len(known)} tensors of the same names and shapes",
                got=f"{len(odd)} that differ, the first {odd[0]!r}",
                remedy="make a new average after a network is wrapped or unwrapped",
            )
        return live


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)


@torch.no_grad()
def _copy(source: State, target: State) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
