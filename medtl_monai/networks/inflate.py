"""2D encoders made into 3D ones, layer by layer, every tensor name kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torchvision.models.convnext import CNBlock, LayerNorm2d
from torchvision.models.swin_transformer import PatchMerging, ShiftedWindowAttention
from torchvision.ops import StochasticDepth
from torchvision.ops.misc import Permute

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.imagenet_vit import ViTEncoder
from medtl_monai.networks.inflate_modules import (
    convert_conv,
    convert_layer_norm,
    convert_norm,
    convert_permute,
    scale_over_volumes,
)
from medtl_monai.networks.inflate_pools import convert_adaptive_pool, convert_average_pool, convert_max_pool
from medtl_monai.networks.slicewise import SlicewisePatchMerging, SlicewiseViTEncoder, SlicewiseWindowAttention
from medtl_monai.networks.stem import AppendOnes, ReplicateAndNormalise

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
    AppendOnes,
    ReplicateAndNormalise,
)


def inflate(encoder: Encoder, method: str = "mean", depth_stride: str = "one") -> Encoder:
    """The 3D encoder of a 2D one: input ``(B, in_channels, H, W, D)``, levels ``(B, channels[i], h, w, d)``.

    Weights, running statistics, frozen stages and training mode come along; ``encoder`` stays as it is. Tensor names
    stay, and ``adaptation`` says how the published 2D tensors become those of the result.

    * ``mean`` (I3D, arXiv:1705.07750): each 2D kernel repeated over a depth equal to its height, divided by it.
    * ``centre``: each 2D kernel in the middle slice, zeros elsewhere.
    * ``acs`` (arXiv:1911.10477): the 2D kernels themselves, a third of the channels for each of the three axes.

    With ``mean`` and ``centre`` a volume that is the same in every slice gives in every slice what the 2D encoder
    gives, in evaluation mode; padding along depth repeats the outermost slice to that end. On volumes that vary along
    depth ``mean`` shrinks the spread of features (noise: by ``1 / sqrt(k)`` in the first layer): see
    :func:`medtl_monai.transfer.norm_statistics.reestimate_norm`. Squeeze-and-excitation averages over the volume.
    In Swin and ViT the patch embedding alone looks along depth; attention and patch merging stay within a slice.

    Args:
        encoder: a 2D encoder; those of :mod:`medtl_monai.networks.imagenet` all can be inflated.
        method: ``mean``, ``centre`` or ``acs``.
        depth_stride: ``one``: no level is coarser along depth than the image, pools work within slices (thin volumes,
            thick slices); ``same``: depth is strided, pooled and padded as height is (isotropic volumes). Not for Swin.

    Returns:
        Encoder named ``<2d>_i3d``, ``<2d>_centre`` or ``<2d>_acs``, with ``_same`` at the end for that depth stride.

    Raises:
        ConfigError: an unknown method or stride, an encoder that is not 2D or has layers without a 3D counterpart.
    """
    _require_choices(encoder, method, depth_stride)
    inflated = copy.deepcopy(encoder)
    inflate_modules(inflated, method, depth_stride)
    if isinstance(inflated, ViTEncoder):
        inflated = SlicewiseViTEncoder(inflated)
    keep_depth = depth_stride == "one"
    inflated.architecture = f"{encoder.architecture}_{METHODS[method]}" + ("" if keep_depth else "_same")
    inflated.spatial_dims = 3
    inflated.strides = tuple((*strides, 1 if keep_depth else strides[0]) for strides in encoder.strides)
    inflated.adaptation = _adaptation(encoder, inflated.state_dict(), method)
    return inflated


def _require_choices(encoder: Encoder, method: str, depth_stride: str) -> None:
    for name, value, choices in (("method", method, tuple(METHODS)), ("depth_stride", depth_stride, DEPTH_STRIDES)):
        if value not in choices:
            raise ConfigError(f"unknown {name} of inflation", expected="one of " + ", ".join(choices), got=value)
    if encoder.spatial_dims != 2:
        raise ConfigError(
            f"{encoder.architecture!r} cannot be inflated",
            expected="a 2D encoder",
            got=f"one with {encoder.spatial_dims} spatial axes",
        )
    if depth_stride == "same" and any(isinstance(layer, PatchMerging) for layer in encoder.modules()):
        raise ConfigError(
            f"{encoder.architecture!r} merges patches within slices",
            expected="depth_stride 'one'",
            got=depth_stride,
            remedy="keep the depth, or inflate one of the convolutional encoders",
        )


def _adaptation(encoder: Encoder, state: Mapping[str, torch.Tensor], method: str) -> dict[str, tuple[str, ...]]:
    """The rules of the 2D encoder, and one more for every tensor that has an axis more now."""
    rules = dict(encoder.adaptation)
    for name, tensor in encoder.state_dict().items():
        if state[name].dim() > tensor.dim():
            rule = f"inflate_{method}" if tensor.dim() == 4 else "unsqueeze"
            rules[name] = (*rules.get(name, ()), rule)
    return rules


def inflate_modules(network: nn.Module, method: str, depth_stride: str = "one") -> None:
    """Replace every 2D layer inside ``network`` by its 3D counterpart, in place; names and training modes stay.

    See :func:`inflate` for ``method`` and ``depth_stride``. Raises ConfigError on layers that it has no counterpart
    for, all kinds at once and before anything changes.
    """
    converters = _converters(method, depth_stride == "one")
    _require_known(network, converters)
    _convert_children(network, converters)


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
        PatchMerging: SlicewisePatchMerging,
    }


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
