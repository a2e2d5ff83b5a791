"""Reading weights files safely: tensors or a refusal, never code.

A second thread takes the hash or compares the checksums while torch reads the same open file; a file that changes
meanwhile is refused, so the hash is that of the bytes that became tensors. Files are read, never mapped: no tensor
depends on its file afterwards, and one that is cut short under way gives an error, not a dead process.
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
            before = archive.settled_state_of(file) if hashed else archive.state_of(file)
            state, sha256, failure = _read_beside_hash(path, file, hashed, with_checksums=not expected)
            if archive.state_of(file) != before:
                raise WeightsError("weights file was changed while it was read", path=path, remedy="try again")
    except OSError as error:  # no permission, a broken disk
        raise _unreadable(path, error) from error
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


def _read_beside_hash(
    path: Path, file: FileIO, hashed: bool, with_checksums: bool
) -> tuple[State, str, WeightsError | None]:
    """State and hash, or why there is no state; the failure of a checksum tells more than what torch made of it."""
    state: State = {}
    sha256 = ""
    failure: WeightsError | None = None
    records: list[archive.Record] = []
    try:
        if with_checksums and file.read(len(archive.MAGIC)) == archive.MAGIC:
            records = archive.read_records(file)
    except _UNREADABLE as error:
        failure = _unreadable(path, error)
    with ThreadPoolExecutor(1) as pool, FileIO(path) as again:
        checked = pool.submit(archive.check_bytes, again, records, hashed) if hashed or records else None
        if failure is None:
            try:
                state = _finite_state(path, file)
            except WeightsError as error:
                failure = error
        ...
    return state, sha256, failure


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
