"""Filling a network from a state dict, with a full account of what went where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.weights.read import shorten


@dataclass(frozen=True)
class LoadReport:
    """What happened to every tensor of a network and of a weights file.

    Attributes:
        source: name or file name of the weights.
        sha256: hash of the file.
        loaded: tensors of the network filled from the file.
        reinitialised: tensors of the declared new head, left at their initial values.
        missing: other tensors of the network that the file lacks.
        unexpected: tensors of the file that have no place in the network, the source's own head aside.
        mismatched: tensors present in both, outside the head, that differ in shape, or in being real or integer.
        dropped: tensors of the source's own head, left out because the task has a new one.
        parameters_loaded, parameters_total: number of parameter values (statistics not counted).
    """

    source: str
    sha256: str
    loaded: tuple[str, ...]
    reinitialised: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    dropped: tuple[str, ...]
    parameters_loaded: int
    parameters_total: int

    @property
    def parameter_share(self) -> float:
        """Share of the network's parameters that came from the file, 0 to 1."""
        return self.parameters_loaded / max(self.parameters_total, 1)

    def as_dict(self) -> dict[str, object]:
        """Plain data for ``run.json``."""
        return {**asdict(self), "parameter_share": round(self.parameter_share, 6)}

    def table(self) -> str:
        """A short table for the terminal."""
        rows = [
            ("loaded", self.loaded),
            ("re-initialised", self.reinitialised),
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("mismatched", self.mismatched),
            ("source head dropped", self.dropped),
        ]
        lines = [f"weights {self.source} (sha256 {self.sha256[:12]})"]
        for title, names in rows:
            lines.append(f"  {title:<20}{len(names):>5}  {shorten(names) if title != 'loaded' else ''}".rstrip())
        lines.append(
            f"  {'parameters loaded':<20}{self.parameters_loaded:>9,} of {self.parameters_total:,} "
            f"({self.parameter_share:.2%})"
        )
        return "\n".join(lines)


def match_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str,
    sha256: str,
    new_head: Sequence[str] = (),
) -> LoadReport:
    """Compare a state dict with a network, tensor by tensor, without changing either.

    Args:
        network: the network to fill.
        state: tensors under the network's own names.
        source, sha256: identity of the weights, for the report.
        new_head: sub-modules of the task's own new head: they keep their initial values, the file's are dropped.
    """
    wanted = network.state_dict()
    head_prefixes = tuple(f"{name}." for name in new_head)
    in_head = {name for name in {*wanted, *state} if name.startswith(head_prefixes)}
    common = [name for name in wanted if name in state and name not in in_head]
    differences = {name: _difference(wanted[name], state[name]) for name in common}
    loaded = tuple(name for name in common if not differences[name])
    parameters = dict(network.named_parameters())
    return LoadReport(
        source=source,
        sha256=sha256,
        loaded=loaded,
        reinitialised=tuple(name for name in wanted if name in in_head),
        missing=tuple(name for name in wanted if name not in state and name not in in_head),
        unexpected=tuple(name for name in state if name not in wanted and name not in in_head),
        mismatched=tuple(f"{name} {differences[name]}" for name in common if differences[name]),
        dropped=tuple(name for name in state if name in in_head),
        parameters_loaded=sum(parameters[name].numel() for name in loaded if name in parameters),
        parameters_total=sum(parameter.numel() for parameter in parameters.values()),
    )


def _difference(own: torch.Tensor, other: torch.Tensor) -> str:
    """Why ``other`` cannot be copied into ``own``, empty if it can. A cast would turn quantised weights into noise."""
    if own.shape != other.shape:
        return f"{tuple(other.shape)} for {tuple(own.shape)}"
    return "" if own.is_floating_point() == other.is_floating_point() else f"{other.dtype} for {own.dtype}"


def fill_network(network: nn.Module, state: Mapping[str, torch.Tensor], report: LoadReport) -> None:
    """Copy the tensors that ``report`` names as loaded into the network, or refuse.

    Raises:
        WeightsError: something other than the declared new head is missing, unexpected or mismatched; nothing is
            copied then.
    """
    if report.missing or report.unexpected or report.mismatched or not report.loaded:
        raise WeightsError(
            f"weights {report.source!r} do not fill the network {type(network).__name__}",
            expected=f"all {len(network.state_dict())} tensors but the declared new head",
            got=f"{len(report.loaded)} loaded, {len(report.missing)} missing ({shorten(report.missing)}), "
            f"{len(report.unexpected)} unexpected ({shorten(report.unexpected)}), "
            f"{len(report.mismatched)} mismatched ({shorten(report.mismatched)})",
            remedy="use weights of this network, or build the network they belong to with `--network`",
        )
    own = network.state_dict()
    with torch.no_grad():
        for name in report.loaded:
            own[name].copy_(state[name])
