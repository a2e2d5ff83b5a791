"""Reading weights files safely: tensors or a refusal, never code.

A file is read once. Its hash is taken, in a second thread, of the same bytes that become tensors, and the tensors do not
depend on the file afterwards (see :mod:`medtl_monai.weights.snapshot`).
"""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BufferedReader, FileIO
from pathlib import Path
from string import hexdigits

import safetensors
import safetensors.torch
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.weights import archive
from medtl_monai.weights.hashed_stream import HashedStream
from medtl_monai.weights.snapshot import Snapshot
from medtl_monai.weights.state import flat_state, require_finite
from medtl_monai.weights.state import shorten as shorten
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
SAFETENSORS = ".safetensors"
State = dict[str, torch.Tensor]


def read_state(path: str | Path) -> State:
    """Read a state dict without running any code from the file.

    Accepts ``.safetensors`` files and PyTorch files, of the zip and of the older kind, that
    ``torch.load(weights_only=True)`` takes; the state dict may be wrapped once (``state_dict``, ``model`` or
    ``model_state_dict``), and one leading ``module.`` (from DataParallel) is removed when every tensor has it. The
    tensors of a file may share one piece of memory, which is theirs alone: the file may change or go.

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
    try:
        with FileIO(path) as file:
            return _read_open(path, file, hashed, expected)
    except OSError as error:  # no permission, a broken disk
        raise _unreadable(path, "a file that can be read", error) from error


def _read_open(path: Path, file: FileIO, hashed: bool, expected: str) -> tuple[State, str]:
    failure: WeightsError | None = None
    state: State = {}
    with ThreadPoolExecutor(1) as pool, closing(_source(path, file, pool if hashed else None)) as source:
        try:
            state = _checked(path, source, with_checksums=not expected)
        except WeightsError as error:
            failure = error
        sha256 = source.sha256() if hashed else ""
    if not sha256.startswith(expected):
        raise WeightsError(
            "weights file is not the expected one",
            path=path,
            expected=f"sha256 {expected}",
            got=f"{path.stat().st_size} bytes, sha256 {sha256}",
            remedy="delete the file and fetch it again",
        ) from failure
    if failure is not None:
        raise failure
    return state, sha256


def _source(path: Path, file: FileIO, pool: ThreadPoolExecutor | None) -> Snapshot | HashedStream:
    """The bytes of the file: all of them in memory where they can be mapped from there, else as they come."""
    start = file.read(len(archive.MAGIC))
    file.seek(0)
    can_be_mapped = start == archive.MAGIC or path.suffix.lower() == SAFETENSORS
    return Snapshot(file, pool) if can_be_mapped else HashedStream(file, pool)


def _checked(path: Path, source: Snapshot | HashedStream, with_checksums: bool) -> State:
    """Named, dense, finite tensors, or WeightsError."""
    expected = "a PyTorch file of tensors (read with weights_only=True)"
    try:
        if isinstance(source, HashedStream):
            content = torch.load(BufferedReader(source), map_location="cpu", weights_only=True)
        elif path.suffix.lower() == SAFETENSORS:
            expected = "a whole safetensors file"
            content = _from_safetensors(source)
        else:
            content = _from_zip(source, with_checksums)
    except _UNREADABLE as error:
        raise _unreadable(path, expected, error) from error
    state = flat_state(content, path)
    require_finite(state, path)
    return state


def _from_safetensors(snapshot: Snapshot) -> State:
    if snapshot.path is not None:
        return safetensors.torch.load_file(snapshot.path, device="cpu")
    with snapshot.open() as stream:
        return safetensors.torch.load(stream.read())


def _from_zip(snapshot: Snapshot, with_checksums: bool) -> object:
    records = archive.read_records(snapshot)
    if with_checksums:
        archive.require_checksums(snapshot, records)
    if snapshot.path is not None and archive.is_mappable(records):
        return torch.load(snapshot.path, map_location="cpu", weights_only=True, mmap=True)
    with snapshot.open() as stream:
        return torch.load(stream, map_location="cpu", weights_only=True)


def _unreadable(path: Path, expected: str, error: Exception) -> WeightsError:
    reason, remedy = reason_of(error, path)
    return WeightsError(
        "weights file cannot be read",
        path=path,
        expected=expected,
        got=f"{path.stat().st_size} bytes, sha256 {_hash_or_nothing(path)}: {reason}",
        remedy=remedy,
    )


def _hash_or_nothing(path: Path) -> str:
    try:
        return sha256_of(path)[:12]
    except OSError:
        return "unknown"
