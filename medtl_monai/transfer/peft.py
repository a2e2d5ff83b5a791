"""Parameter-efficient fine-tuning: small trainable adapters on the frozen tensors of a source, merged into them later.

An adapter computes the tensor that a layer works with from the source's own, ``adapter(original)``. The layer stays
the layer that it was (its padding, stride, groups, and code that reads ``layer.weight`` by itself). The adapter is
torch's parametrisation of that tensor, so merging is exact: the merged tensor is the very one that the wrapped network
computed with.

While a network is wrapped, ``state_dict`` has the names ``<layer>.parametrizations.<tensor>.original`` and
``...<tensor>.0.<adapter's tensors>``; save and resume with it as always. ``copy.deepcopy`` works; ``torch.save`` of the
whole module and ``torch.jit.script`` do not: :func:`unwrap` first, or save :func:`merged_state`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork, parameter_count
from medtl_monai.transfer.param_groups import Group, parameter_groups, source_stages

logger = logging.getLogger(__name__)
_WRAPPED = "parametrizations"  # torch's name of the sub-module that holds them


class Adapter(nn.Module):
    """Base class: ``forward`` makes the tensor in use of the source's tensor, same shape and dtype.

    An adapter always trains, also inside a frozen stage: ``StagedNetwork.freeze`` ends with ``train()``, which reaches
    the adapters, and there they switch their own gradient on again. To stop one, merge it.

    Attributes:
        order: names of the layer's own parameters before it was wrapped.
        method: what put it there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.order = tuple[str, ...]()
        self.method = ""

    def train(self, mode: bool = True) -> Adapter:
        """As every module's; the adapter's parameters are trainable from here on."""
        super().train(mode)
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        return self


Rule = Callable[[nn.Module], Mapping[str, Adapter] | str | None]
"""What a method does with a layer: adapters by tensor name, the reason for passing it over, or None: no layer of it."""


def passed_over(network: StagedNetwork, rule: Rule) -> dict[str, str]:
    """Layer name -> why a method leaves it as it is. The network stays as it is."""
    return _plan(network, rule)[1]


def attach(network: StagedNetwork, rule: Rule, method: str) -> None:
    """Put a method's adapters on the layers of the body, and freeze the body (statistics and dropout included).

    A network that the same method has wrapped already keeps its adapters, trained or not.

    Args:
        network: the network, source loaded. Its task stages get no adapters; they train in full.
        rule: what the method does with each layer.
        method: its name and settings.

    Raises:
        ConfigError: another method has wrapped the network, or its body has nothing that this one can adapt.
    """
    present = {adapter.method for adapter in adapters(network).values()}
    if present:
        if present != {method}:
            others = ", ".join(sorted(present))
            raise ConfigError("the network is wrapped already", expected=method, got=others, remedy="`unwrap` it first")
        network.freeze(source_stages(network))
        return
    chosen, left = _plan(network, rule)
    reasons = "; ".join(f"{count} layers: {reason}" for reason, count in Counter(left.values()).items())
    title = network.architecture or type(network).__name__
    if not chosen:
        raise ConfigError(
            f"{method} finds nothing to adapt in {title!r}",
            expected="at least one layer outside the stages " + ", ".join(network.task_stages),
            got=reasons or "no layer of a kind that it adapts",
        )
    for layer, new in chosen:
        order = tuple(layer._parameters)
        for tensor, adapter in new.items():
            adapter.order, adapter.method = order, method
            parametrize.register_parametrization(layer, tensor, adapter)
    network.freeze(source_stages(network))
    logger.info(
        "%s in %d layers, passed over: %s; %s", method, len(chosen), reasons or "none", trainable_share(network)
    )


def _plan(network: StagedNetwork, rule: Rule) -> tuple[list[tuple[nn.Module, Mapping[str, Adapter]]], dict[str, str]]:
    task = {id(tensor) for stage in network.task_stages for tensor in network.stage_parameters(stage)}
    owners = Counter(id(tensor) for layer in network.modules() for tensor in layer.parameters(recurse=False))
    members = {name for names in network.stages.values() for name in names}
    chosen: list[tuple[nn.Module, Mapping[str, Adapter]]] = []
    left: dict[str, str] = {}
    for name, layer in network.named_modules():
        if any(id(tensor) in task for tensor in layer.parameters(recurse=False)):
            continue
        answer = rule(layer)
        if answer is None:
            continue
        if not isinstance(answer, str):
            answer = _obstacle(name, layer, answer, owners, members) or answer
        if isinstance(answer, str):
            left[name] = answer
        else:
            chosen.append((layer, answer))
    return chosen, left


def _obstacle(
    name: str, layer: nn.Module, tensors: Mapping[str, Adapter], owners: Counter[int], members: set[str]
) -> str:
    """Why the tensors of a layer cannot be computed from others; empty if they can."""
    if parametrize.is_parametrized(layer) or any(layer._parameters.get(tensor) is None for tensor in tensors):
        return "its tensors are computed from others already"
    if any(owners[id(layer._parameters[tensor])] > 1 for tensor in tensors):
        return "it shares its tensor with another layer"
    if any(f"{name}.{tensor}" in members for tensor in tensors):
        return "a stage names its tensor, not the layer"
    return ""


def adapters(network: nn.Module) -> dict[str, Adapter]:
    """The adapters of a network by name; empty if it is not wrapped."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Adapter)}


def _own_adapters(layer: nn.Module) -> list[Adapter]:
    if not parametrize.is_parametrized(layer):
        return []
    lists = layer.get_submodule(_WRAPPED).children()
    return [adapter for one in lists for adapter in one.children() if isinstance(adapter, Adapter)]


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of the network without adapters, what they learned merged into its tensors.

    Names, their order, shapes and dtypes are those before it was wrapped; the tensors are copies. A network that is
    not wrapped gives a copy of its ``state_dict()``. The network stays as it is.
    """
    layers = network.named_modules(remove_duplicate=False)
    wrapped = {name: _parameters(name, layer) for name, layer in layers if _own_adapters(layer)}
    merged: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        owners = [owner for depth in range(1, len(parts)) if (owner := ".".join(parts[:depth])) in wrapped]
        for owner in owners:
            merged.update(wrapped[owner])
        if not any(name.startswith(f"{owner}.{_WRAPPED}.") for owner in owners):
            merged.setdefault(name, tensor.clone())
    return merged


def _parameters(name: str, layer: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that a wrapped layer computes with, as copies, in the order that they had in the plain layer."""
    values = {f"{name}.{tensor}": getattr(layer, tensor) for tensor in _own_adapters(layer)[0].order}
    return {full: value.detach().clone() for full, value in values.items() if value is not None}


def unwrap(network: nn.Module) -> None:
    """Merge all adapters into the layers' own tensors, in place, and remove them; nothing happens if there are none.

    The layers are plain again, with the names and the very parameters that they had; frozen stages stay frozen.
    """
    for layer in list(network.modules()):
        if _own_adapters(layer):
            _unwrap(layer)


@torch.no_grad()
def _unwrap(layer: nn.Module) -> None:
    # Not torch's remove_parametrizations: it also takes the property off the class that a deep copy shares.
    order = _own_adapters(layer)[0].order
    lists = dict(layer.get_submodule(_WRAPPED).named_children())
    values = {tensor: getattr(layer, tensor).detach().clone() for tensor in lists}
    own = dict(layer._parameters)
    for tensor, value in values.items():
        own[tensor] = lists[tensor].get_parameter("original")
        own[tensor].copy_(value)
    delattr(layer, _WRAPPED)
    layer.__class__ = type(layer).__bases__[0]
    layer._parameters.clear()
    layer._parameters.update({tensor: own[tensor] for tensor in order})


@dataclass(frozen=True)
class TrainableShare:
    """How much of a network trains.

    Attributes:
        trainable: numbers in all parameters that train, the adapters' among them.
        adapters: numbers in adapters.
        total: numbers in the parameters of the plain network.
    """

    trainable: int
    adapters: int
    total: int

    @property
    def fraction(self) -> float:
        """Trainable numbers per number of the plain network."""
        return self.trainable / self.total

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters train ({self.fraction:.2%}), {self.adapters:,} added"


def trainable_share(network: nn.Module) -> TrainableShare:
    """How much of a network trains, wrapped or not."""
    added = sum(parameter.numel() for parameter in _adapter_parameters(network))
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return TrainableShare(trainable, added, parameter_count(network) - added)


def _adapter_parameters(network: nn.Module) -> list[nn.Parameter]:
    every = [parameter for adapter in adapters(network).values() for parameter in adapter.parameters()]
    return list({id(parameter): parameter for parameter in every}.values())


def task_groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """:func:`parameter_groups` of what trains besides the adapters. Raises ConfigError if there are no adapters."""
    if not adapters(network):
        raise ConfigError("the network is not wrapped", expected="adapters on its layers", remedy="call `wrap` first")
    added = {id(parameter) for parameter in _adapter_parameters(network)}
    groups = parameter_groups(network, lr=lr, weight_decay=weight_decay)
    rest = [{**group, "params": [p for p in group["params"] if id(p) not in added]} for group in groups]
    return [group for group in rest if group["params"]]


def plain_group(network: StagedNetwork, lr: float, name: str) -> Group:
    """All adapters in one group without weight decay, which would pull a scale of 1 to 0."""
    return {"name": name, "params": _adapter_parameters(network), "lr": lr, "lr_scale": 1.0, "weight_decay": 0.0}
