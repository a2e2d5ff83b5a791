"""Optimiser parameter groups as pure functions of the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from medtl_monai.networks.staged import StagedNetwork

Group = dict[str, Any]
FLAT = "norms and biases"


def source_stages(network: StagedNetwork) -> tuple[str, ...]:
    """The stages that a source fills, in network order: all but the task's own."""
    task = network.task_stages
    return tuple(stage for stage in network.stages if stage not in task)


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


def parameter_groups(network: nn.Module, *, lr: float, weight_decay: float) -> list[Group]:
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
    return _groups(_trainable(network), lr, weight_decay, FLAT, 1.0)


def parameter_groups_by_stage(
    network: StagedNetwork, *, lr: float, weight_decay: float, factor: Callable[[str], float] = lambda stage: 1.0
) -> list[Group]:
    """The groups of :func:`parameter_groups`, made for each stage on its own, from the head back to the stem.

    ``stage`` in the group names the stage, ``lr_scale`` all that the learning rate was multiplied by. As in layer-wise
    decay of the rate elsewhere, the factor of a stage scales its weight decay per step, ``lr * weight_decay``, too.

    Args:
        network, lr, weight_decay: as for :func:`parameter_groups`.
        factor: stage name -> what to multiply the learning rates of the stage by.
    """
    members: dict[str, list[tuple[str, nn.Parameter]]] = {stage: [] for stage in network.stages}
    for name, parameter in _trainable(network):
        members[network.stage_of(name)].append((name, parameter))
    return [
        {"stage": stage, **group}
        for stage in reversed(network.stages)
        for group in _groups(members[stage], lr, weight_decay, f"{stage}: {FLAT}", factor(stage))
    ]


def _trainable(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def _groups(
    named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float, flat_name: str, factor: float
) -> list[Group]:
    weights = list(named)
    flat = [parameter for _, parameter in weights if parameter.ndim <= 1]
    groups: list[Group] = []
    if flat:
        groups.append({"name": flat_name, "params": flat, "lr": lr * factor, "lr_scale": factor, "weight_decay": 0.0})
    for name, parameter in weights:
        if parameter.ndim > 1:
            scale = learning_rate_scale(parameter)
            groups.append(
                {
                    "name": name,
                    "params": [parameter],
                    "lr": lr * scale * factor,
                    "lr_scale": scale * factor,
                    "weight_decay": weight_decay / scale,
                }
            )
    return groups
