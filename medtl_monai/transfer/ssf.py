"""SSF: a scale and a shift per channel after the frozen layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer import peft
from medtl_monai.transfer.kernel import kernel_of
from medtl_monai.transfer.param_groups import Group

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


class Scale(peft.Adapter):
    """``W * scale`` along the output channels: the factor of ``scale * layer(x) + shift`` on the weight.

    Args:
        weight: the layer's weight.
        out_axis: its axis of output channels; None scales every element by itself (norms).
    """

    def __init__(self, weight: torch.Tensor, out_axis: int | None) -> None:
        super().__init__()
        shape = weight.shape if out_axis is None else weight.shape[out_axis : out_axis + 1]
        self.spread = 0 if out_axis is None else weight.ndim - 1 - out_axis  # axes after that of the channels
        self.scale = nn.Parameter(weight.new_ones(shape))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """``weight`` times the scale, same shape."""
        return weight * self.scale.view(*self.scale.shape, *[1] * self.spread)


class ScaleAndShift(peft.Adapter):
    """``b * scale + shift``: the same scale, and the shift, of ``scale * layer(x) + shift`` on the bias.

    Args:
        bias: the layer's bias.
        scale: the parameter of the layer's :class:`Scale`, shared with it.
    """

    def __init__(self, bias: torch.Tensor, scale: nn.Parameter) -> None:
        super().__init__()
        self.scale = scale
        self.shift = nn.Parameter(bias.new_zeros(bias.shape))

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        """``bias`` scaled and shifted, same shape."""
        return bias * self.scale + self.shift


def rule(layer: nn.Module) -> dict[str, peft.Adapter] | str | None:
    """What SSF does with a layer; see :func:`wrap`."""
    if isinstance(layer, _NORMS):
        names, axis = ("weight", "bias"), None
    else:
        kernel = kernel_of(layer)
        if kernel is None:
            return None
        if kernel.out_axis and kernel.groups > 1:
            return "the output channels of a grouped transposed convolution have no axis of their own"
        names, axis = (kernel.weight, kernel.bias), kernel.out_axis
    weight, bias = (getattr(layer, name) for name in names)
    if weight is None or bias is None:
        return "it has no weight and bias to merge scale and shift into"
    scale = Scale(weight.detach(), axis)
    return {names[0]: scale, names[1]: ScaleAndShift(bias.detach(), scale.scale)}


def wrap(network: StagedNetwork) -> None:
    """Freeze the body of a network and give its layers a trainable scale and shift per channel after each.

    Lian et al. 2022, arXiv:2210.08823. The output stays what it was until training starts. Task stages train in full.

    Adapted is what scale and shift can be merged into exactly: norms with weight and bias, convolutions and linear
    layers with a bias (inflated, ACS and transposed ones too), and the joint projection of ``nn.MultiheadAttention``.
    Passed over: layers without a bias, which could not take the shift. In convolutional networks a norm follows them;
    after a frozen batch norm its own scale and shift can do all that one before it could do, and an instance norm would
    undo one before it. Norms without weight and bias, grouped transposed convolutions and tensors that two layers share
    are passed over too.

    Called again it changes nothing but freezes the body again. Raises ConfigError if another method has wrapped the
    network or there is nothing to adapt.
    """
    peft.attach(network, rule, "ssf")


def groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """Parameter groups of a wrapped network: task stages as in fine-tuning, scales and shifts without weight decay.

    Raises ConfigError if the network is not wrapped.
    """
    return [*peft.task_groups(network, lr, weight_decay), peft.plain_group(network, lr, "scales and shifts")]
