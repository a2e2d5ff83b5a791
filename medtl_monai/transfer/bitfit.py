"""BitFit: of the source's body, the biases alone train."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer import peft
from medtl_monai.transfer.param_groups import Group

_BIASES = ("bias", "in_proj_bias")


class BiasChange(peft.Adapter):
    """``b + change``, the change starting at zero: training it is training the bias, and the source's own is kept.

    Args:
        bias: the layer's bias.
    """

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.zeros_like(bias))

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        """``bias`` and its change, same shape."""
        return bias + self.change


def rule(layer: nn.Module) -> dict[str, peft.Adapter] | str | None:
    """What BitFit does with a layer; see :func:`wrap`."""
    own = dict(layer.named_parameters(recurse=False))
    found = {name: own[name] for name in _BIASES if name in own}
    if found:
        return {name: BiasChange(bias.detach()) for name, bias in found.items()}
    return "it has no bias" if own else None


def wrap(network: StagedNetwork) -> None:
    """Freeze the body of a network except its biases: those of convolutions, linear layers, attention and norms.

    Zaken et al. 2021, arXiv:2106.10199. The output stays what it was until training starts. Task stages train in full.
    Layers without a bias stay as they are, none is added; the same holds for biases that two layers share.

    Called again it changes nothing but freezes the body again. Raises ConfigError if another method has wrapped the
    network or no layer of its body has a bias.
    """
    peft.attach(network, rule, "bitfit")


def groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """Parameter groups of a wrapped network: task stages as in fine-tuning, biases without weight decay.

    Raises ConfigError if the network is not wrapped.
    """
    return [*peft.task_groups(network, lr, weight_decay), peft.plain_group(network, lr, "biases")]
