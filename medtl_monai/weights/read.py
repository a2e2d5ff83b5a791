"""Reading weights files safely: tensors or a refusal, never code.

A file is read once, into memory of its own; the tensors are parts of that memory, and the hash is taken of the same
bytes, in a second thread.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from string import hexdigits

import safetensors
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.weights.archive import MAGIC as ZIP_MAGIC
from medtl_monai.weights.memory import Memory
from medtl_monai.weights.references import NotPlainError
from medtl_monai.weights.safetensors_file import content_of_safetensors
from medtl_monai.weights.state import flat_state, require_finite
from medtl_monai.weights.torch_file import OldLayout, content_of_old, content_of_zip, old_layout
from medtl_monai.weights.unreadable import reason_of

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
_UNREADABLE = (safetensors.SafetensorError, *DAMAGED_FILE_ERRORS)
_PICKLE_START = b"\x80"
_HEADS_BYTES = (1 << 16, 1 << 20)  # enough for the descriptions of some 250 and some 4000 tensors
State = dict[str, torch.Tensor]


def read_state(path: str | Path) -> State:
    """Read a state dict without running any code from the file.

    Accepts ``.safetensors`` files and PyTorch files, of the zip and of the older kind, that
    ``torch.load(weights_only=True)`` takes; the state dict may be wrapped once (``state_dict``, ``model`` or
    ``model_state_dict``), and one leading ``module.`` (from DataParallel) is removed when every tensor has it. The
    tensors share one piece of memory, which lasts as long as the last of them; the file may change or go.

    Raises:
        WeightsError: the file is absent, damaged, holds objects other than dense tensors by name, names with two
            ``module.`` in front, or NaN or infinite values. The checksums of zip files are compared; the older kind
            and safetensors have none.
    """
    return _read(Path(path), hashed=False, expected="")[0]


def read_state_with_hash(path: str | Path, expected_sha256: str | None = None) -> tuple[State, str]:
    """As :func:`read_state`, and the hex SHA-256 of exactly the bytes that the tensors were made of.

    Args:
        path: the file.
        expected_sha256: the hash, or at least its first 8 digits; then it takes the place of a zip file's checksums.

    Raises:
        WeightsError: as :func:`read_state`, or the file has another hash than expected.
        ValueError: ``expected_sha256`` is not 8 to 64 hex digits.
    """
    expected = (expected_sha256 or "").lower()
    if expected_sha256 is not None and not (8 <= len(expected) <= 64 and set(expected) <= set(hexdigits)):
        raise ValueError(f"8 to 64 hex digits of a SHA-256 expected, got {expected_sha256!r}")
    return _read(Path(path), hashed=True, expected=expected)


def _read(path: Path, hashed: bool, expected: str) -> tuple[State, str]:
    if not path.is_file():
        raise WeightsError("weights file not found", path=path, remedy="check the path")
    state: State = {}
    failure: WeightsError | None = None
    with ThreadPoolExecutor(1) as pool:
        try:
            memory, layout = _read_bytes(path, pool if hashed else None)
        except _UNREADABLE as error:  # no permission, a broken disk, no memory
            raise _unreadable(path, error) from error
        try:
            state = _state(path, memory, layout, with_checksums=not expected)
        except WeightsError as error:
            failure = error
        sha256 = memory.sha256()
    if not sha256.startswith(expected):
        raise WeightsError(
            "weights file is not the expected one",
            path=path,
            expected=f"sha256 {expected}",
            got=f"{len(memory.view)} bytes, sha256 {sha256}",
            remedy="delete the file and fetch it again",
        ) from failure
    if failure is not None:
        raise failure
    return state, sha256


def _read_bytes(path: Path, pool: ThreadPoolExecutor | None) -> tuple[Memory, OldLayout | None]:
    """The file in memory, and its layout if it is a PyTorch file of the older kind with nothing special in it."""
    layout = None
    with FileIO(path) as file:
        head = file.read(_HEADS_BYTES[0])
        for size in _HEADS_BYTES if head[:1] == _PICKLE_START else ():
            head += file.read(size - len(head))
            with suppress(NotPlainError):
                layout = old_layout(head)
                break
        return Memory(head, file, pool, aligned=layout.start if layout else 0), layout


def _state(path: Path, memory: Memory, layout: OldLayout | None, with_checksums: bool) -> State:
    """Named, dense, finite tensors, or WeightsError."""
    try:
        if _is_safetensors(path):
            content: object = content_of_safetensors(memory)
        elif memory.view[: len(ZIP_MAGIC)] == ZIP_MAGIC:
            content = content_of_zip(memory, with_checksums)
        else:
            content = content_of_old(memory, layout)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    state = flat_state(content, path)
    require_finite(state, path)
    return state


def _is_safetensors(path: Path) -> bool:
    return path.suffix.lower() == ".safetensors"


def _unreadable(path: Path, error: Exception) -> WeightsError:
    reason, remedy = reason_of(error, path)
    kind = "a safetensors file" if _is_safetensors(path) else "a PyTorch file of tensors (read with weights_only=True)"
    return WeightsError(
        "weights file cannot be read",
        path=path,
        expected=kind,
        got=f"{_size_and_hash(path)}: {reason}",
        remedy=remedy,
    )


def _size_and_hash(path: Path) -> str:
    try:
        return f"{path.stat().st_size} bytes, sha256 {sha256_of(path)[:12]}"
    except OSError:
        return "a file of unknown content"
