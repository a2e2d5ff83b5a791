"""Gradual unfreezing, and new parameter groups for an optimiser and a schedule that are already at work."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.optim import lr_scheduler as schedules

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.param_groups import Group, parameter_groups_by_stage, source_stages

# Schedules that multiply all learning rates by one number: a group that comes later can be put where the others are.
_PROPORTIONAL = (
    schedules.PolynomialLR,
    schedules.LambdaLR,
    schedules.ExponentialLR,
    schedules.StepLR,
    schedules.MultiStepLR,
    schedules.LinearLR,
    schedules.ConstantLR,
)


def gradually_frozen(network: StagedNetwork, step: int) -> tuple[str, ...]:
    """The stages that are still frozen in a step of gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146).

    In step 1 the task stages alone train; each further step frees one more stage, from the task back to the stem.
    """
    source = source_stages(network)
    return source[: max(0, len(source) - (step - 1))]


def gradual_groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """Groups by stage, so that a stage that is freed later brings whole groups along."""
    return parameter_groups_by_stage(network, lr=lr, weight_decay=weight_decay)


def require_growing_schedule(lr_scheduler: schedules.LRScheduler) -> None:
    """Raise ConfigError unless parameter groups can join a schedule half-way."""
    to_zero = isinstance(lr_scheduler, schedules.CosineAnnealingLR) and lr_scheduler.eta_min == 0
    if not (isinstance(lr_scheduler, _PROPORTIONAL) or to_zero):
        raise ConfigError(
            "parameter groups cannot join this learning rate schedule half-way",
            expected="CosineAnnealingLR with eta_min 0, " + ", ".join(row.__name__ for row in _PROPORTIONAL),
            got=type(lr_scheduler).__name__,
        )
    if len({id(function) for function in getattr(lr_scheduler, "lr_lambdas", ())}) > 1:
        raise ConfigError("parameter groups cannot join a LambdaLR with several functions", expected="one function")


def add_groups(
    optimizer: torch.optim.Optimizer, lr_scheduler: schedules.LRScheduler, groups: Sequence[Group]
) -> list[Group]:
    """Give the parameters that the optimiser does not hold yet to it and to its schedule; the rest stays untouched.

    The learning rate of a group is its rate at the start of the schedule; it joins at the value that the schedule has
    brought the other groups to.

    Args:
        optimizer: the optimiser, with the state of its training.
        lr_scheduler: its schedule; see :func:`require_growing_schedule`.
        groups: parameter groups, each with ``params`` and ``lr``; parameters that are held already are left out.

    Returns:
        The groups that were added.

    Raises:
        ConfigError: the schedule has not treated all groups alike.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    new = [{**group, "params": [value for value in group["params"] if id(value) not in held]} for group in groups]
    new = [group for group in new if group["params"]]
    if not new:
        return []
    progress = _progress(optimizer)
    for group in new:
        base = group["lr"]
        optimizer.add_param_group({**group, "initial_lr": base, "lr": base * progress})
        lr_scheduler.base_lrs.append(base)
        if isinstance(lr_scheduler, schedules.LambdaLR):
            lr_scheduler.lr_lambdas.append(lr_scheduler.lr_lambdas[0])
    lr_scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # what get_last_lr tells
    return new


def _progress(optimizer: torch.optim.Optimizer) -> float:
    """What the schedule has multiplied the learning rates by so far."""
    shares = [group["lr"] / group["initial_lr"] for group in optimizer.param_groups if group["initial_lr"] > 0]
    if any(not math.isclose(share, shares[0], rel_tol=1e-6, abs_tol=1e-12) for share in shares):
        raise ConfigError(
            "the learning rate schedule has not treated all parameter groups alike",
            expected="one share of the initial rate for all",
            got=f"{min(shares):.6g} to {max(shares):.6g}",
        )
    return shares[0] if shares else 1.0
