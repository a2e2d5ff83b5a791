"""Filling a network from a state dict, with a full account of what went where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import torch
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.weights.state import shorten

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class LoadReport:
    """What happened to every tensor of a network and of a weights file.

    Every tensor of the network is in exactly one of ``loaded``, ``adapted``, ``reinitialised``, ``missing`` and
    ``mismatched``, and every tensor of the file in one of ``loaded``, ``adapted``, ``unexpected``, ``mismatched`` and
    ``dropped``.

    Attributes:
        source: name or file name of the weights.
        sha256: hash of the file.
        loaded: tensors of the network filled from the file as they are there.
        reinitialised: tensors of the declared new head, left at their initial values.
        missing: other tensors of the network that the file lacks.
        unexpected: tensors of the file that have no place in the network, the source's own head aside.
        mismatched: tensors present in both, outside the head, that differ in shape, or in being real or integer.
        dropped: tensors of the source's own head, left out because the task has a new one.
        parameters_loaded, parameters_total: number of parameter values (statistics not counted), those of adapted
            tensors among the loaded ones.
        adapted: tensors of the network computed from the file's, each as ``name: how``.
        parameters_new_head: how many of ``parameters_total`` belong to the declared new head.
        parity: largest difference of the logits to those of the source network, relative to the largest logit where
            that is above 1; None where not compared.
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
    adapted: tuple[str, ...] = ()
    parameters_new_head: int = 0
    parity: float | None = None

    @property
    def filled(self) -> tuple[str, ...]:
        """Names of all tensors of the network that come from the file, adapted or not."""
        return (*self.loaded, *(entry.partition(": ")[0] for entry in self.adapted))

    @property
    def parameter_share(self) -> float:
        """Share of all the network's parameters that came from the file, 0 to 1."""
        return self.parameters_loaded / max(self.parameters_total, 1)

    @property
    def body_parameters_total(self) -> int:
        """Number of parameter values outside the declared new head."""
        return self.parameters_total - self.parameters_new_head

    @property
    def body_share(self) -> float:
        """Share of the parameters outside the declared new head that came from the file, 0 to 1."""
        return self.parameters_loaded / max(self.body_parameters_total, 1)

    def as_dict(self) -> dict[str, object]:
        """Plain data for ``run.json``."""
        return {
            **asdict(self),
            "parameter_share": round(self.parameter_share, 6),
            "body_share": round(self.body_share, 6),
        }

    def table(self) -> str:
        """A short table for the terminal."""
        rows = [
            ("loaded", self.loaded),
            ("adapted", self.adapted),
            ("re-initialised", self.reinitialised),
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("mismatched", self.mismatched),
            ("source head dropped", self.dropped),
        ]
        lines = [f"weights {self.source} (sha256 {self.sha256[:12]})"]
        for title, names in rows:
            lines.append(f"  {title:<20}{len(names):>5}  {shorten(names) if title != 'loaded' else ''}".rstrip())
        for title, total, share in (
            ("parameters loaded", self.parameters_total, self.parameter_share),
            ("outside the new head", self.body_parameters_total, self.body_share),
        ):
            lines.append(f"  {title:<20}{self.parameters_loaded:>11,} of {total:,} ({share:.2%})")
        if self.parity is not None:
            lines.append(f"  {'parity':<20}{self.parity:>11.1e} largest difference to the source network's output")
        return "\n".join(lines)


def match_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str,
    sha256: str,
    new_head: Sequence[str] = (),
    adapted: Mapping[str, str] = _NOTHING,
) -> LoadReport:
    """Compare a state dict with a network, tensor by tensor, without changing either.

    Args:
        network: the network to fill.
        state: tensors under the network's own names.
        source, sha256: identity of the weights, for the report.
        new_head: sub-modules of the task's own new head: they keep their initial values, the file's are dropped.
        adapted: names in ``state`` whose tensors are not as published -> what was done to them, in words.
    """
    wanted = network.state_dict()
    head = _names_in_head(wanted, state, new_head)
    common = [name for name in wanted if name in state and name not in head]
    differences = {name: words for name in common if (words := _difference(wanted[name], state[name]))}
    filled = [name for name in common if name not in differences]
    parameters = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return LoadReport(
        source=source,
        sha256=sha256,
        loaded=tuple(name for name in filled if name not in adapted),
        reinitialised=tuple(name for name in wanted if name in head),
        missing=tuple(name for name in wanted if name not in state and name not in head),
        unexpected=tuple(name for name in state if name not in wanted and name not in head),
        mismatched=tuple(f"{name} {words}" for name, words in differences.items()),
        dropped=tuple(name for name in state if name in head),
        parameters_loaded=sum(parameters.get(name, 0) for name in filled),
        parameters_total=sum(parameters.values()),
        adapted=tuple(f"{name}: {adapted[name]}" for name in filled if name in adapted),
        parameters_new_head=sum(count for name, count in parameters.items() if name in head),
    )


def _names_in_head(wanted: Iterable[str], state: Iterable[str], new_head: Sequence[str]) -> set[str]:
    prefixes = tuple(f"{name}." for name in new_head)
    return {name for name in (*wanted, *state) if name.startswith(prefixes)} if prefixes else set()


def _difference(own: torch.Tensor, other: torch.Tensor) -> str:
    """Why ``other`` cannot be copied into ``own``, empty if it can. A cast would turn quantised weights into noise."""
    if own.shape != other.shape:
        return f"{tuple(other.shape)} for {tuple(own.shape)}"
    if own.dtype != other.dtype and own.is_floating_point() != other.is_floating_point():
        return f"{other.dtype} for {own.dtype}"
    return "for a tensor without memory (device meta)" if own.is_meta else ""


def fill_network(
    network: nn.Module, state: Mapping[str, torch.Tensor], report: LoadReport, minimum_share: float = 1.0
) -> None:
    """Copy the tensors that the report lists as loaded or adapted into the network, in place.

    Args:
        network, state: the pair that ``report`` is about.
        report: from :func:`match_state`.
        minimum_share: least share of the parameters outside the new head that has to come from the file, 0 to 1.

    Raises:
        WeightsError: tensors are missing, unexpected or mismatched, none would be loaded, or too few parameters;
            nothing is copied then.
    """
    if report.missing or report.unexpected or report.mismatched or not report.filled:
        raise WeightsError(
            f"weights {report.source!r} do not fill the network {type(network).__name__}",
            expected=f"all {len(network.state_dict())} tensors but the declared new head",
            got=f"{len(report.filled)} loaded, {len(report.missing)} missing ({shorten(report.missing)}), "
            f"{len(report.unexpected)} unexpected ({shorten(report.unexpected)}), "
            f"{len(report.mismatched)} mismatched ({shorten(report.mismatched)})",
            remedy="use weights of this network, or build the network they belong to with `--network`",
        )
    if report.body_share < minimum_share:
        raise WeightsError(
            f"weights {report.source!r} fill too little of the network {type(network).__name__}",
            expected=f"at least {minimum_share:.2%} of the parameters outside the declared new head",
            got=f"{report.parameters_loaded:,} of {report.body_parameters_total:,} ({report.body_share:.2%})",
            remedy="use weights of this network, or declare what they lack as its new head",
        )
    own = network.state_dict()
    with torch.no_grad():
        for name in report.filled:
            own[name].copy_(state[name])
