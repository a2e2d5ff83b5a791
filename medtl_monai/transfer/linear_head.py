"""The last linear layer of a network, and linear classifiers of features put in its place."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_dense import TransferDense

LinearLayer: TypeAlias = nn.Linear | nn.Conv2d | nn.Conv3d


def linear_layer(network: StagedNetwork) -> LinearLayer | None:
    """The layer with which a network ends: a linear layer or a 1x1 convolution, with bias; None where there is more.

    Dropout before it does not count.
    """
    if network.task_stages != (network.head,):
        return None
    layers = [
        layer
        for module in network.stage_modules(network.head)
        for layer in module.modules()
        if next(layer.children(), None) is None and not isinstance(layer, nn.modules.dropout._DropoutNd)
    ]
    if len(layers) != 1 or not isinstance(layers[0], LinearLayer) or layers[0].bias is None:
        return None
    (layer,) = layers
    pointwise = not isinstance(layer, nn.Conv2d | nn.Conv3d) or (set(layer.kernel_size) == {1} and layer.groups == 1)
    return layer if pointwise else None


def linear_layers(network: StagedNetwork) -> list[LinearLayer] | None:
    """One linear layer for each tensor of the network's ``task_input``, the first of them with bias, or None.

    Their outputs, brought to one grid, sum up to the logits.
    """
    if isinstance(network, TransferDense):
        return list(network.dense_head.levels)
    layer = linear_layer(network)
    return None if layer is None else [layer]


@torch.no_grad()
def set_linear_head(network: StagedNetwork, weight: np.ndarray, bias: np.ndarray) -> None:
    """Make a linear classifier of features the head of a network.

    Args:
        network: one that :func:`has_linear_head`.
        weight: ``(classes, F)``.
        bias: ``(classes,)``.

    Raises:
        ConfigError: the network does not end in one linear layer, or of another shape.
    """
    weights, biases = torch.as_tensor(weight), torch.as_tensor(bias)
    if isinstance(network, TransferDense):
        network.set_head(weights.float(), biases.float())
        return
    layer = linear_layer(network)
    if layer is None:
        raise no_linear_head(network)
    if weights.shape != layer.weight.flatten(1).shape or layer.bias is None or biases.shape != layer.bias.shape:
        raise ConfigError(
            "this linear classifier does not fit the head",
            expected=f"weight {tuple(layer.weight.flatten(1).shape)}",
            got=f"weight {tuple(weights.shape)}, bias {tuple(biases.shape)}",
        )
    layer.weight.copy_(weights.reshape(layer.weight.shape))
    layer.bias.copy_(biases)


def has_linear_head(network: StagedNetwork) -> bool:
    """Whether :func:`set_linear_head` can be used."""
    return linear_layers(network) is not None


def no_linear_head(network: StagedNetwork) -> ConfigError:
    """The error for a network that does not end in one linear layer."""
    name = network.architecture
    dense = name.replace("unet_", "dense_", 1) if name.startswith("unet_") else "dense_<encoder>"
    return ConfigError(
        f"network {name!r} does not end in one linear layer",
        expected="a network `classifier_<encoder>`, `dense_<encoder>`, `highres3dnet` or `unet`",
        got=name,
        remedy=f"`--network {dense}`",
    )
