"""Averages over several trained models of one network: model soups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from medtl_monai.errors import ConfigError, WeightsError

State = Mapping[str, torch.Tensor]
_COUNTER = "num_batches_tracked"


def uniform_soup(states: Mapping[str, State]) -> dict[str, torch.Tensor]:
    """The mean of several trained models' weights, a uniform soup (Wortsman et al. 2022, arXiv:2203.05482).

    Only models fine-tuned from ONE source, with ONE initial head (the same seed of the network), lie close enough
    together to be averaged; the state dicts cannot tell, the caller has to know. Batch norms' running means and
    variances are averaged like weights, which makes them those of no network: estimate them anew on training images
    with :func:`medtl_monai.transfer.norm_statistics.reestimate_norm`. ``num_batches_tracked`` is the first model's.

    Args:
        states: model name -> its state dict; of wrapped networks the merged one.

    Returns:
        A new state dict, computed in float64, in the dtypes of the models.

    Raises:
        ConfigError: no model at all, or adapters among the tensors.
        WeightsError: names, shapes, dtypes or whole-number tensors differ, or values are not finite.
    """
    _require_soup(states)
    return _mean(states)


@dataclass(frozen=True)
class GreedySoup:
    """A greedy soup.

    Attributes:
        state: the averaged state dict.
        members: the models in it, in the order in which they were taken.
        score: its score, never below that of the best model.
        scores: the score of every model alone.
    """

    state: dict[str, torch.Tensor]
    members: tuple[str, ...]
    score: float
    scores: dict[str, float]


def greedy_soup(states: Mapping[str, State], score: Callable[[State], float]) -> GreedySoup:
    """From the best model on, each next best is taken in if the average does not get worse (Wortsman et al. 2022).

    Args:
        states: as for :func:`uniform_soup`, with the same caution.
        score: higher is better; on VALIDATION cases, never on the test cases that will be reported. It may estimate
            batch norm statistics anew before it scores; ``state`` of the result has the averaged ones.

    Raises:
        ConfigError: as :func:`uniform_soup`, or a score that is not finite.
        WeightsError: as :func:`uniform_soup`.
    """
    _require_soup(states)
    scores = {name: _finite(name, score(state)) for name, state in states.items()}
    first, *others = sorted(states, key=lambda name: -scores[name])
    members: tuple[str, ...] = (first,)
    state, best = _mean({first: states[first]}), scores[first]
    for name in others:
        wider = (*members, name)
        candidate = _mean({member: states[member] for member in wider})
        reached = _finite(" + ".join(wider), score(candidate))
        if reached >= best:
            members, state, best = wider, candidate, reached
    return GreedySoup(state, members, best, scores)


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"the score of {name!r} is not a number", expected="a finite score", got=value)
    return float(value)


def _mean(states: Mapping[str, State]) -> dict[str, torch.Tensor]:
    first = next(iter(states.values()))
    mean: dict[str, torch.Tensor] = {}
    for name, tensor in first.items():
        if tensor.is_floating_point():
            total = sum(state[name].detach().to(tensor.device, torch.float64) for state in states.values())
            mean[name] = (total / len(states)).to(tensor.dtype)
        else:
            mean[name] = tensor.detach().clone()
    return mean


def _require_soup(states: Mapping[str, State]) -> None:
    if not states:
        raise ConfigError("a soup needs models", expected="at least one state dict", got=0)
    wrapped = [name for name, state in states.items() if any("parametrizations" in key.split(".") for key in state)]
    if wrapped:
        raise ConfigError(
            "adapters cannot be averaged: the mean of low-rank factors is not that of their products",
            got=", ".join(wrapped),
            remedy="average `merged_state(network)`",
        )
    require_same_tensors(states)
    broken = [
        f"{model}: {name}"
        for model, state in states.items()
        for name, tensor in state.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if broken:
        raise WeightsError("weights that are not finite", expected="finite values", got="; ".join(broken))
    _require_equal_numbers(states)


def require_same_tensors(states: Mapping[str, State]) -> None:
    """Raise WeightsError, naming every model and tensor, unless names, shapes and dtypes agree with the first's."""
    first, *others = states
    wanted = {name: _kind(tensor) for name, tensor in states[first].items()}
    odd: list[str] = []
    for model in others:
        own = {name: _kind(tensor) for name, tensor in states[model].items()}
        odd += [
            f"{model}: {name} {own.get(name, 'absent')} instead of {wanted.get(name, 'absent')}"
            for name in sorted(own.keys() | wanted.keys())
            if own.get(name) != wanted.get(name)
        ]
    if odd:
        raise WeightsError(
            "these models are not of one network",
            expected=f"names, shapes and dtypes of {first!r}",
            got=f"{len(odd)} tensors that differ: " + "; ".join(odd),
        )


def _kind(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _require_equal_numbers(states: Mapping[str, State]) -> None:
    first, *others = states
    odd = [
        f"{model}: {name}"
        for name, tensor in states[first].items()
        if not tensor.is_floating_point() and not name.endswith(_COUNTER)
        for model in others
        if not torch.equal(states[model][name], tensor)
    ]
    if odd:
        raise WeightsError("whole numbers cannot be averaged", expected=f"those of {first!r}", got="; ".join(odd))
