"""Reading weights safely, and filling a network from them with a full account of what went where."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from medtl_monai.errors import WeightsError

_WRAPPERS = ("state_dict", "model", "model_state_dict")


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
        mismatched: tensors present in both, outside the head, with different shapes.
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
            ("wrong shape", self.mismatched),
            ("source head dropped", self.dropped),
        ]
        lines = [f"weights {self.source} (sha256 {self.sha256[:12]})"]
        for title, names in rows:
            lines.append(f"  {title:<20}{len(names):>5}  {_shorten(names) if title != 'loaded' else ''}".rstrip())
        lines.append(
            f"  {'parameters loaded':<20}{self.parameters_loaded:>9,} of {self.parameters_total:,} "
            f"({self.parameter_share:.1%})"
        )
        return "\n".join(lines)


def _shorten(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict without running any code from the file.

    Accepts ``.safetensors`` files and PyTorch files that ``torch.load(weights_only=True)`` takes; the state dict may
    be wrapped once (``state_dict``, ``model`` or ``model_state_dict``), and one leading ``module.`` (from
    DataParallel) is removed when every tensor has it.

    Raises:
        WeightsError: the file is absent, damaged, holds objects other than tensors, or holds NaN or infinite values.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("weights file not found", path=path, remedy="check the path")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    strange = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange or not content:
        raise WeightsError(
            "not a flat state dict",
            path=path,
            expected="tensors only",
            got=f"{len(strange)} other entries ({_shorten(tuple(map(str, strange)))})" if strange else "nothing",
            remedy="save `network.state_dict()` alone",
        )
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    _require_finite(content, path)
    return dict(content)


def _read_safetensors(path: Path) -> Mapping:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except safetensors.SafetensorError as error:
        raise _unreadable(path, "a whole safetensors file", error) from error


def _read_torch(path: Path) -> Mapping:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, "a PyTorch file of tensors (read with weights_only=True)", error) from error
    if not isinstance(content, Mapping):
        raise WeightsError("not a state dict", path=path, expected="a mapping", got=type(content).__name__)
    return content


def _unreadable(path: Path, expected: str, error: Exception) -> WeightsError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return WeightsError(
        "weights file cannot be read",
        path=path,
        expected=expected,
        got=f"{path.stat().st_size} bytes, sha256 {sha256_of(path)[:12]}, {type(error).__name__}: {reason}",
        remedy="fetch the file again; a file that holds code is never loaded",
    )


def _require_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    bad = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if bad:
        raise WeightsError(
            "weights hold NaN or infinite values",
            path=path,
            expected="finite values",
            got=f"{len(bad)} tensors ({_shorten(tuple(bad))})",
            remedy="fetch the file again or train again",
        )


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
    loaded = tuple(name for name in common if wanted[name].shape == state[name].shape)
    parameters = dict(network.named_parameters())
    return LoadReport(
        source=source,
        sha256=sha256,
        loaded=loaded,
        reinitialised=tuple(name for name in wanted if name in in_head),
        missing=tuple(name for name in wanted if name not in state and name not in in_head),
        unexpected=tuple(name for name in state if name not in wanted and name not in in_head),
        mismatched=tuple(
            f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
            for name in common
            if wanted[name].shape != state[name].shape
        ),
        dropped=tuple(name for name in state if name in in_head),
        parameters_loaded=sum(parameters[name].numel() for name in loaded if name in parameters),
        parameters_total=sum(parameter.numel() for parameter in parameters.values()),
    )


def fill_network(network: nn.Module, state: Mapping[str, torch.Tensor], report: LoadReport) -> None:
    """Copy the tensors that ``report`` names as loaded into the network, or refuse.

    Raises:
        WeightsError: something other than the declared new head is missing, unexpected or of another shape; nothing
            is copied then.
    """
    if report.missing or report.unexpected or report.mismatched or not report.loaded:
        raise WeightsError(
            f"weights {report.source!r} do not fill the network {type(network).__name__}",
            expected=f"all {len(network.state_dict())} tensors but the declared new head",
            got=f"{len(report.loaded)} loaded, {len(report.missing)} missing ({_shorten(report.missing)}), "
            f"{len(report.unexpected)} unexpected ({_shorten(report.unexpected)}), "
            f"{len(report.mismatched)} of another shape ({_shorten(report.mismatched)})",
            remedy="use weights of this network, or build the network they belong to with `--network`",
        )
    own = network.state_dict()
    with torch.no_grad():
        for name in report.loaded:
            own[name].copy_(state[name])
