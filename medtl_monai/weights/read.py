"""Reading weights files safely: tensors or a refusal, never code."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of

_WRAPPERS = ("state_dict", "model", "model_state_dict")

# All that torch.load was seen to raise on cut and altered files: its unpickler trusts the order of what it reads.
DAMAGED_FILE_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
)


def shorten(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict without running any code from the file.

    Accepts ``.safetensors`` files and PyTorch files that ``torch.load(weights_only=True)`` takes; the state dict may
    be wrapped once (``state_dict``, ``model`` or ``model_state_dict``), and one leading ``module.`` (from
    DataParallel) is removed when every tensor has it.

    Raises:
        WeightsError: the file is absent, damaged, holds objects other than dense tensors by name, or holds NaN or
            infinite values.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("weights file not found", path=path, remedy="check the path")
    content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    strange = [name for name, value in content.items() if not (isinstance(name, str) and _is_dense(value))]
    if strange or not content:
        raise WeightsError(
            "not a flat state dict",
            path=path,
            expected="dense tensors by name and nothing else",
            got=f"{len(strange)} other entries ({shorten(tuple(map(str, strange)))})" if strange else "nothing",
            remedy="save `network.state_dict()` alone",
        )
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    _require_finite(content, path)
    return dict(content)


def _is_dense(value: object) -> bool:
    """A tensor with values in memory, one per element: not sparse, quantised or without storage."""
    if not isinstance(value, torch.Tensor):
        return False
    return value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _read_safetensors(path: Path) -> Mapping:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (safetensors.SafetensorError, *DAMAGED_FILE_ERRORS) as error:
        raise _unreadable(path, "a whole safetensors file", error) from error


def _read_torch(path: Path) -> Mapping:
    try:
        _require_checksums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED_FILE_ERRORS as error:
        raise _unreadable(path, "a PyTorch file of tensors (read with weights_only=True)", error) from error
    if not isinstance(content, Mapping):
        raise WeightsError("not a state dict", path=path, expected="a mapping", got=type(content).__name__)
    return content


def _require_checksums(path: Path) -> None:
    """torch.load skips the CRC-32 of each tensor in a zip file, and would hand out altered values."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise zipfile.BadZipFile(f"CRC-32 of {bad} does not match its content")


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
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise WeightsError(
            "weights hold NaN or infinite values",
            path=path,
            expected="finite values",
            got=f"{len(bad)} tensors ({shorten(tuple(bad))})",
            remedy="fetch the file again or train again",
        )
