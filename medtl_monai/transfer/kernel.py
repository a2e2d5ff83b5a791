"""Where the layers of any network keep the tensors of their linear map."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd

from medtl_monai.networks.acs import AcsConv3d


class Kernel(NamedTuple):
    """Where a linear layer or a convolution keeps its tensors.

    Attributes:
        weight, bias: names of its parameters; the bias may be None.
        groups: blocks of rows of the weight that have nothing in common.
        out_axis: axis of the weight that runs over the output channels.
    """

    weight: str = "weight"
    bias: str = "bias"
    groups: int = 1
    out_axis: int = 0


def kernel_of(layer: nn.Module) -> Kernel | None:
    """The kernel of a layer; None if it is neither linear nor a convolution.

    All convolutions of torch and their subclasses, transposed ones too, :class:`AcsConv3d`, and the joint projection of
    queries, keys and values in ``nn.MultiheadAttention`` (three blocks of rows) have one.
    """
    if isinstance(layer, nn.Linear):
        return Kernel()
    if isinstance(layer, nn.MultiheadAttention):
        return Kernel("in_proj_weight", "in_proj_bias", groups=3)
    if isinstance(layer, _ConvNd):
        return Kernel(groups=layer.groups, out_axis=int(layer.transposed))
    return Kernel(groups=layer.groups) if isinstance(layer, AcsConv3d) else None
