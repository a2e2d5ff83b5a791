"""2D encoders made into 3D ones, layer by layer, every tensor name kept."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn
from torchvision.models.convnext import CNBlock, LayerNorm2d
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import StochasticDepth
from torchvision.ops.misc import Permute

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.inflate_modules import (
    convert_conv,
    convert_layer_norm,
    convert_norm,
    convert_permute,
    scale_over_volumes,
)
from medtl_monai.networks.inflate_pools import convert_adaptive_pool, convert_average_pool, convert_max_pool
from medtl_monai.networks.slicewise import SlicewiseWindowAttention

METHODS = {"mean": "i3d", "centre": "centre", "acs": "acs"}
DEPTH_STRIDES = ("one", "same")
_ANY_DIMENSION = (  # layers that work value by value, or on the last axis, of whatever comes
    nn.ReLU,
    nn.ReLU6,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Identity,
    nn.Dropout,
    nn.Linear,
    nn.LayerNorm,
    StochasticDepth,
)


def _converters(method: str, keep_depth: bool) -> dict[type[nn.Module], Callable[..., nn.Module]]:
    return {
        nn.Conv2d: lambda layer: convert_conv(layer, method, keep_depth),
        nn.MaxPool2d: lambda layer: convert_max_pool(layer, keep_depth),
        nn.AvgPool2d: lambda layer: convert_average_pool(layer, keep_depth),
        nn.AdaptiveAvgPool2d: convert_adaptive_pool,
        nn.BatchNorm2d: convert_norm,
        nn.Dropout2d: lambda layer: nn.Dropout3d(layer.p, layer.inplace),
        LayerNorm2d: convert_layer_norm,
        Permute: convert_permute,
        ShiftedWindowAttention: SlicewiseWindowAttention,
    }


def inflate_modules(network: nn.Module, method: str, depth_stride: str = "one") -> None:
    """Replace every 2D layer inside ``network`` by its 3D counterpart, in place; names and training modes stay.

    See :func:`inflate` for ``method`` and ``depth_stride``. Raises ConfigError on layers that it has no counterpart
    for, all kinds at once and before anything changes.
    """
    converters = _converters(method, depth_stride == "one")
    _require_known(network, converters)
    _convert_children(network, converters)


def _require_known(network: nn.Module, converters: dict[type[nn.Module], Callable[..., nn.Module]]) -> None:
    unknown = {
        type(layer).__name__
        for layer in network.modules()
        if type(layer) not in converters and not any(layer.children()) and not isinstance(layer, _ANY_DIMENSION)
    }
    if unknown:
        raise ConfigError(
            f"{type(network).__name__} cannot be inflated",
            expected="only layers among " + ", ".join(layer.__name__ for layer in (*converters, *_ANY_DIMENSION)),
            got=", ".join(sorted(unknown)),
        )


def _convert_children(parent: nn.Module, converters: dict[type[nn.Module], Callable[..., nn.Module]]) -> None:
    for name, layer in list(parent.named_children()):
        convert = converters.get(type(layer))
        if convert is None:
            _convert_children(layer, converters)
        else:
            setattr(parent, name, convert(layer).train(layer.training))
    if isinstance(parent, CNBlock):
        scale_over_volumes(parent)
