"""Where the head of any network is, and what its stages are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_class import MonaiClass

HEAD, BODY, _BEFORE_HEAD = "head", "body", "before_head"
Stages = dict[str, tuple[str, ...]]


def head_modules(network: MonaiClass, out_channels: int) -> tuple[str, ...]:
    """The sub-modules whose tensors depend on the number of output channels.

    The network is built twice without memory, with ``out_channels`` and one more; a tensor whose shape differs, or that
    only one of the two has, belongs to the head, and with it the module that holds it.

    Raises:
        ConfigError: no tensor depends on it.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        own, other = (_shapes(network.build(count)) for count in (out_channels, out_channels + 1))
    dependent = [name for name, shape in own.items() if other.get(name) != shape]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in dependent))
    if not owners or "" in owners:
        raise ConfigError(
            "the bundle's network has no head",
            path=network.definition.path,
            expected=f"modules whose shapes depend on `{network.out_argument}`",
            got=f"{network.definition.target} without any",
            remedy="choose a bundle whose network ends in classes",
        )
    return tuple(name for name in owners if not _within(name, [other for other in owners if other != name]))


def stages_of(network: nn.Module, heads: Iterable[str], prefix: str) -> Stages:
    """Stages of a network: its children in the order in which it registers them, and the head last.

    A child that holds parts of the head is left with its other parts. Parts without tensors (dropout, pooling) go with
    the child before them. Tensors that are registered twice count where they come first. A network with one child
    apart from the head has the stage ``"body"``.

    Args:
        network: the network.
        heads: from :func:`head_modules`.
        prefix: in front of all names, such as ``"net."``.

    Returns:
        Stage -> names of sub-modules or single tensors; every parameter is in exactly one stage.
    """
    heads = tuple(heads)
    seen = {id(tensor) for head in heads for tensor in _tensors(network.get_submodule(head))}
    stages: Stages = {}
    loose: list[str] = []
    for name, part in (*_own_tensors(network), *network.named_children()):
        known = len(seen)
        pieces = [f"{prefix}{piece}" for piece in _pieces(name, part, seen)]
        if len(seen) > known:
            stages[_BEFORE_HEAD if name == HEAD else name] = (*loose, *pieces)
            loose = []
        elif stages:
            last = next(reversed(stages))
            stages[last] = (*stages[last], *pieces)
        else:
            loose += pieces
    if len(stages) == 1:
        stages = {BODY: next(iter(stages.values()))}
    return {**stages, HEAD: tuple(f"{prefix}{head}" for head in heads)}


def _pieces(name: str, part: nn.Module | torch.Tensor, seen: set[int]) -> Iterator[str]:
    """Names of the largest parts that hold nothing of the head and nothing seen before; their tensors are seen now."""
    tensors = [part] if isinstance(part, torch.Tensor) else list(_tensors(part))
    new = [id(tensor) for tensor in tensors if id(tensor) not in seen]
    if len(new) == len(tensors):  # also a part without tensors
        seen.update(new)
        yield name
    elif new and isinstance(part, nn.Module):
        for inner, member in (*_own_tensors(part), *part.named_children()):
            yield from _pieces(f"{name}.{inner}", member, seen)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _within(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)
