"""What makes a state dict: dense, finite tensors by name and nothing else."""

from __future__ import annotations

import cmath
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from medtl_monai.errors import WeightsError

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIX = "module."
_SUMMABLE = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128}


def shorten(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def flat_state(content: object, path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name in a file's content, without one wrapper and one ``module.`` in front of every name.

    Raises:
        WeightsError: something else than dense tensors by name, nothing, or two ``module.`` in front of every name.
    """
    if not isinstance(content, Mapping):
        raise WeightsError(
            "not a state dict",
            path=path,
            expected="a mapping",
            got=type(content).__name__,
            remedy="save `network.state_dict()` alone",
        )
    wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
    entries = content if wrapper is None else content[wrapper]
    strange = [name for name, value in entries.items() if not (isinstance(name, str) and _is_dense(value))]
    if strange or not entries:
        raise WeightsError(
            "not a flat state dict",
            path=path,
            expected="dense tensors by name and nothing else",
            got=f"{len(strange)} other entries ({shorten(tuple(map(str, strange)))})" if strange else "nothing",
            remedy="save `network.state_dict()` alone",
        )
    return _without_prefix(entries, path)


def _is_dense(value: object) -> bool:
    """A tensor with values in memory, one per element: not sparse, quantised or without storage."""
    if not isinstance(value, torch.Tensor):
        return False
    return value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _without_prefix(entries: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    if all(name.startswith(2 * _PREFIX) for name in entries):
        raise WeightsError(
            "tensor names with two `module.` in front: the network was wrapped twice (DataParallel) when it was saved",
            path=path,
            expected="at most one `module.`",
            got=shorten(tuple(entries)),
            remedy="save `network.module.module.state_dict()`",
        )
    if all(name.startswith(_PREFIX) for name in entries):
        return {name.removeprefix(_PREFIX): tensor for name, tensor in entries.items()}
    return dict(entries)


def require_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise WeightsError, with the names, if tensors hold NaN or infinite values."""
    with torch.no_grad():
        bad = [name for name, tensor in state.items() if not _is_finite(tensor)]
    if bad:
        raise WeightsError(
            "weights hold NaN or infinite values",
            path=path,
            expected="finite values",
            got=f"{len(bad)} tensors ({shorten(tuple(bad))})",
            remedy="fetch the file again or train again",
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    """A sum is many times cheaper than a look at each value.

    Adding anything to NaN or to an infinity never gives a finite number, so a finite sum proves finite values; a sum
    that is not finite may be an overflow and proves nothing.
    """
    if tensor.dtype in _SUMMABLE:
        return cmath.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())
    if tensor.is_floating_point():  # the 8-bit formats have neither
        return bool(torch.isfinite(tensor.float()).all())
    return True
