"""LoRA: a low-rank change of every linear and convolution weight."""

from __future__ import annotations

import math

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer import peft
from medtl_monai.transfer.kernel import kernel_of
from medtl_monai.transfer.param_groups import Group, learning_rate_scale

RANK = 4


class LowRank(peft.Adapter):
    """``W + alpha / rank * up @ down`` (Hu et al. 2021, arXiv:2106.09685); exactly ``W`` at the start.

    ``up`` ``(out, rank)`` starts at zero, ``down`` ``(groups * rank, in / groups, *kernel)`` as torch initialises a
    layer of that shape. For a convolution the change is that of two layers, a convolution ``down`` with the kernel,
    stride, padding and dilation of the layer itself and a 1x1 convolution ``up``, written as a change of the kernel: no
    feature map more is stored. With groups every group has its own pair. (A transposed convolution's weight starts with
    its input channels: there ``up`` comes first in the data flow and ``down`` second.)

    Args:
        weight: ``(out, in / groups, *kernel)``.
        rank, alpha: rank of the change and its factor (times ``1 / rank``).
        groups: blocks of rows that have a change each.
        generator: draws ``down``.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float, groups: int, generator: torch.Generator) -> None:
        super().__init__()
        self.rank, self.groups, self.scaling = rank, groups, alpha / rank
        bound = 1.0 / math.sqrt(weight[0].numel())
        down = torch.empty(groups * rank, *weight.shape[1:]).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """``weight`` and its change, same shape."""
        with torch.autocast(weight.device.type, enabled=False):  # in half precision small changes would be lost
            up = self.up.view(self.groups, -1, self.rank)
            product = torch.bmm(up, self.down.view(self.groups, self.rank, -1))
            return weight + self.scaling * product.view(weight.shape)


def rule(rank: int = RANK, alpha: float | None = None, seed: int = 0) -> peft.Rule:
    """What LoRA does with a layer; see :func:`wrap`. Raises ConfigError unless rank and alpha are positive."""
    factor = float(rank) if alpha is None else alpha
    if rank < 1 or not factor > 0:
        raise ConfigError("rank and alpha of LoRA out of range", expected="at least 1, above 0", got=(rank, alpha))
    generator = torch.Generator().manual_seed(seed)

    def place(layer: nn.Module) -> dict[str, peft.Adapter] | str | None:
        kernel = kernel_of(layer)
        if kernel is None:
            return None
        weight = getattr(layer, kernel.weight)
        if weight is None:
            return "it keeps queries, keys and values apart"
        if rank * (weight.shape[0] + kernel.groups * weight[0].numel()) >= weight.numel():
            return f"rank {rank} needs as many numbers as the weight itself"
        return {kernel.weight: LowRank(weight.detach(), rank, factor, kernel.groups, generator)}

    return place


def wrap(network: StagedNetwork, rank: int = RANK, alpha: float | None = None, seed: int = 0) -> None:
    """Freeze the body of a network and give its linear layers and convolutions a trainable low-rank change.

    The output stays what it was until training starts. Task stages train in full. Called again it changes nothing but
    freezes the body again.

    Adapted: ``nn.Linear``, all convolutions (inflated, ACS, grouped and transposed too), and the joint projection of
    ``nn.MultiheadAttention``, one change each for queries, keys and values. Passed over: layers whose change would have
    as many numbers as their weight (depthwise and other small kernels), separate query, key and value weights, tensors
    that two layers share; norms and biases stay frozen.

    Args:
        network: the network, with the source's weights.
        rank: rank of the change.
        alpha: the change is ``alpha / rank`` times the product; None: rank.
        seed: seed of the initial values; the global random state is left as it was.

    Raises:
        ConfigError: rank or alpha out of range, a network wrapped in another way, or nothing to adapt.
    """
    peft.attach(network, rule(rank, alpha, seed), f"lora of rank {rank}, alpha {rank if alpha is None else alpha:g}")


def groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """Parameter groups of a wrapped network: task stages as in fine-tuning, then ``down`` and ``up`` of every layer.

    The rate of ``up`` is scaled by :func:`learning_rate_scale` of the frozen weight, so that a layer with large weights
    changes by the same share as others. Weight decay pulls towards the source. Low-rank factors usually want a higher
    ``lr`` than the weights themselves. Raises ConfigError if the network is not wrapped.
    """
    found = peft.task_groups(network, lr, weight_decay)
    for name, adapter in peft.adapters(network).items():
        if isinstance(adapter, LowRank):
            original = network.get_parameter(f"{name.rpartition('.')[0]}.original")
            found.append(_group(f"{name}.down", adapter.down, lr, 1.0, weight_decay))
            found.append(_group(f"{name}.up", adapter.up, lr, learning_rate_scale(original), weight_decay))
    return found


def _group(name: str, parameter: nn.Parameter, lr: float, scale: float, weight_decay: float) -> Group:
    rate = {"lr": lr * scale, "lr_scale": scale, "weight_decay": weight_decay / scale}
    return {"name": name, "params": [parameter], **rate}
