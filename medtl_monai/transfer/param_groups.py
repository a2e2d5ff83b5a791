"""Optimiser parameter groups as a pure function of the network."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: weights with decay, and one-dimensional ones (norm scales, biases) without.

    Every trainable parameter is in exactly one group, frozen ones are in none, and nothing is changed.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = (
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]
