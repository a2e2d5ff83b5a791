"""Optimiser parameter groups as pure functions of the network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def learning_rate_scale(weight: torch.Tensor) -> float:
    """How much larger the weights of a layer are than freshly initialised ones, at least 1.

    Adam moves every weight by about the learning rate per step, whatever its size. Under a following norm layer only
    the relative change counts, so a pretrained layer with weights of RMS 1.8 (HighRes3DNet) stands still at a learning
    rate made for initial weights of RMS 0.02. Scaling the rate by RMS(w) / RMS(initial w) gives both the same relative
    step; the idea is that of the relative step size of Adafactor (Shazeer and Stern 2018, arXiv:1804.04235).

    Args:
        weight: ``(out, in, *kernel)``, a convolution or linear weight.

    Returns:
        The ratio to torch's default initialisation, uniform in +-1/sqrt(fan_in), whose RMS is 1/sqrt(3 fan_in).
    """
    fan_in = weight[0].numel()
    rms = float(weight.detach().double().square().mean().sqrt())
    return max(1.0, rms * math.sqrt(3.0 * fan_in))


def parameter_groups(network: nn.Module, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in groups for AdamW.

    One-dimensional parameters (norm scales, biases) share a group without weight decay; every other weight is a group
    of its own, with decay and with its learning rate scaled by :func:`learning_rate_scale` (``lr_scale`` in the
    group). The decay of a step is ``lr * weight_decay``: dividing it by the scale keeps it the same for all layers.

    Every trainable parameter is in exactly one group, frozen ones are in none, and nothing is changed.

    Args:
        network: the network, with the weights it starts from.
        lr: learning rate of freshly initialised layers.
        weight_decay: AdamW weight decay of freshly initialised layers.
    """
    trainable = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    flat = [parameter for _, parameter in trainable if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = []
    if flat:
        groups.append({"name": "norms and biases", "params": flat, "lr": lr, "lr_scale": 1.0, "weight_decay": 0.0})
    for name, parameter in trainable:
        if parameter.ndim > 1:
            scale = learning_rate_scale(parameter)
            groups.append(
                {
                    "name": name,
                    "params": [parameter],
                    "lr": lr * scale,
                    "lr_scale": scale,
                    "weight_decay": weight_decay / scale,
                }
            )
    return groups
