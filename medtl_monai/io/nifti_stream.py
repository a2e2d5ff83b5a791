"""The bytes of a NIfTI file, read in one pass and never more of them than the header may honestly claim."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from medtl_monai.errors import FormatError

GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
DEFLATE_MAX_RATIO = 1032  # no deflate stream expands further (zlib technical notes: 1032:1)
MAX_VOLUME_BYTES = 8 * 2**30  # 1024 x 1024 x 2048 float32; larger claims are damage or an attack
MAX_TRAILING_BYTES = 2**20  # bytes after the voxels: some padding is harmless, a flood is not
CHUNK = 2**22  # 4 MiB per read keeps memory in step with what really arrives
GIB = 2**30


def is_gzip_name(path: Path) -> bool:
    """Whether the name says gzip."""
    return path.name.lower().endswith(".gz")


@contextmanager
def open_nifti(path: Path, case: str) -> Iterator[BinaryIO]:
    """The decompressed bytes of a .nii or .nii.gz file.

    Raises:
        FormatError: empty, not what its name says, cut short, or damaged (checksum); always naming the file.
    """
    _check_start(path, case)
    try:
        with gzip.open(path) if is_gzip_name(path) else path.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except EOFError as error:
        raise _damaged("gzip stream ends before its end marker", path, case, f"{path.stat().st_size} bytes") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged("gzip stream is damaged", path, case, str(error)) from error
    except OSError as error:
        raise _damaged("cannot be read", path, case, str(error.strerror or error)) from error


def _damaged(problem: str, path: Path, case: str, got: str) -> FormatError:
    return FormatError(
        problem, case=case, path=path, expected="a whole file", got=got, remedy="copy or download the file again"
    )


def _check_start(path: Path, case: str) -> None:
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise _damaged("cannot be read", path, case, str(error.strerror or error)) from error
    if not first:
        raise _damaged("file is empty", path, case, "0 bytes")
    if (first[:2] == GZIP_MAGIC) == is_gzip_name(path):
        return
    wanted = "gzip (1f 8b)" if is_gzip_name(path) else "uncompressed NIfTI"
    raise FormatError(
        "file is not what its name says",
        case=case,
        path=path,
        expected=f"first bytes of {wanted}",
        got=first.hex(" "),
        remedy="rename the file or copy it again; a web page saved in its place starts with 3c",
    )


def available_memory() -> int:
    """Bytes that can be allocated without swapping, as far as the system tells; else all of the memory."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return MAX_VOLUME_BYTES


def check_claim(path: Path, case: str, *, needed: int, shape: tuple[int, ...]) -> None:
    """Refuse, before anything is allocated, a header that claims more bytes than the file can hold.

    Args:
        needed: bytes of header and voxels together.
        shape: dimensions the header claims, for the message.

    Raises:
        FormatError: with the bytes or GiB claimed and what there is.
    """
    size = path.stat().st_size
    holds = size * DEFLATE_MAX_RATIO if is_gzip_name(path) else size
    if needed > holds:
        raise FormatError(
            "header claims more than the file can hold, or the file is cut short",
            case=case,
            path=path,
            expected=f"{needed} bytes ({needed / GIB:.3g} GiB) for shape {shape}",
            got=f"{'at most ' if is_gzip_name(path) else ''}{holds} bytes",
            remedy="copy or download the file again",
        )
    limit = min(MAX_VOLUME_BYTES, available_memory())
    if needed > limit:
        raise FormatError(
            "volume is too large to read",
            case=case,
            path=path,
            expected=f"at most {limit / GIB:.3g} GiB",
            got=f"{needed / GIB:.3g} GiB for shape {shape}",
            remedy="crop or resample the volume, or use a machine with more memory",
        )


def read_exactly(stream: BinaryIO, count: int, path: Path, case: str) -> bytearray:
    """The next `count` bytes.

    Raises:
        FormatError: the data end early; with bytes expected and found.
    """
    data = bytearray()
    try:
        while len(data) < count:
            chunk = stream.read(min(CHUNK, count - len(data)))
            if not chunk:
                break
            data += chunk
    except EOFError:
        pass  # a gzip stream cut short: the count below says so
    if len(data) < count:
        raise FormatError(
            "file is cut short",
            case=case,
            path=path,
            expected=f"{count} bytes in this part",
            got=f"{len(data)} bytes",
            remedy="copy or download the file again",
        )
    return data


def finish(stream: BinaryIO, path: Path, case: str) -> int:
    """Read to the end, which also verifies a gzip checksum; returns how many bytes were left over.

    Raises:
        FormatError: more than `MAX_TRAILING_BYTES` follow the voxels.
    """
    left = len(stream.read(MAX_TRAILING_BYTES + 1))
    if left > MAX_TRAILING_BYTES:
        raise FormatError(
            "file holds far more than its header declares",
            case=case,
            path=path,
            expected=f"at most {MAX_TRAILING_BYTES} bytes after the voxels",
            got="more",
            remedy="check the header's dimensions and data type",
        )
    return left
