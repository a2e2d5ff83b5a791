"""A toy network and short words for the tests of loading."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.weights.load import LoadReport, match_state

State = dict[str, torch.Tensor]
FIELDS = ("loaded", "adapted", "reinitialised", "missing", "unexpected", "mismatched", "dropped")


def network(seed: int = 0, classes: int = 2) -> nn.Sequential:
    """9 tensors: body.0 a convolution, body.1 a batch norm with 3 statistics, and the head."""
    torch.manual_seed(seed)
    whole = nn.Sequential()
    whole.add_module("body", nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3)))
    whole.add_module("head", nn.Conv3d(3, classes, 1))
    return whole


def copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def same(one: State, other: State) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def report_of(target: nn.Module, state: State, new_head: tuple[str, ...] = ()) -> LoadReport:
    return match_state(target, state, source="file.pth", sha256="ab" * 32, new_head=new_head)


def counts(report: LoadReport) -> dict[str, int]:
    return {field: len(getattr(report, field)) for field in FIELDS if getattr(report, field)}
