"""Files that are either whole or absent: written beside their place, checked, then moved there in one step."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from medtl_monai.errors import OutputError

REMEDIES = {
    errno.ENOSPC: "free space on the disk or choose another output folder",
    errno.EDQUOT: "free space in your quota or choose another output folder",
    errno.EFBIG: "raise the limit on file size or choose another output folder",
    errno.EROFS: "choose an output folder that can be written to",
    errno.EACCES: "choose an output folder that you may write to",
    errno.ENOENT: "create the output folder first",
}


@contextmanager
def atomic_write(path: str | PathLike[str], *, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Write a file so that its final name only ever shows a whole one, also after a crash or kill.

    Yields a name in the same folder, hidden, unique, with the same suffixes; the body of the ``with`` creates the file
    there. Then it is flushed to disk, given to `check`, and renamed. A failure leaves an older file at `path` as it
    was. A killed process may leave the hidden file behind.

    Args:
        path: the final name; its folder must exist.
        check: called with the temporary file before the rename; raises if the file is not as it should be.

    Raises:
        OutputError: the disk is full, the folder cannot be written to, or any other OSError in the body or in `check`;
            names the final path and the errno.
    """
    final = Path(path)
    temporary = final.with_name(f".{uuid.uuid4().hex[:12]}-{final.name}")
    try:
        yield temporary
        _flush(temporary)
        if check is not None:
            check(temporary)
        os.replace(temporary, final)
        _flush_folder(final.parent)
    except OSError as error:
        raise _output_error(final, error) from error
    finally:
        with suppress(OSError):  # gone after the rename; never hide the first error behind this one
            temporary.unlink(missing_ok=True)


def _output_error(path: Path, error: OSError) -> OutputError:
    code = error.errno or 0
    return OutputError(
        "cannot write the file",
        path=path,
        got=f"{errno.errorcode.get(code, type(error).__name__)} ({error.strerror or error})",
        remedy=REMEDIES.get(code, "check the output folder"),
    )


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not flush folders
            raise
    finally:
        os.close(handle)


def write_bytes(path: str | PathLike[str], data: bytes) -> None:
    """Write bytes atomically; raises OutputError as `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically, UTF-8, line ends as given; raises OutputError as `atomic_write`."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise OutputError("text is not Unicode", path=path, got=error.reason) from error
    write_bytes(path, data)


def write_json(path: str | PathLike[str], obj: object) -> None:
    """Write an object as JSON atomically, indented, keys in their order.

    Raises:
        OutputError: as `atomic_write`; also for NaN, infinity, or a type that JSON does not have (nothing is written).
    """
    try:
        text = json.dumps(obj, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError("not JSON", path=path, expected="finite numbers, text, lists, objects", got=error) from error
    write_text(path, text + "\n")
