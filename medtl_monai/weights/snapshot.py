"""The bytes of a weights file, read once: what is hashed is what is handed on, whatever happens to the file meanwhile.

Mapping the file itself would be cheaper still, but a program that shortens it then kills this process (SIGBUS), and one
that rewrites it changes tensors under way. So a :class:`Snapshot` copies the file into anonymous memory, which is
mapped in its place: as much memory as tensors of their own would take, and no second copy.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from medtl_monai.io.hashing import sha256_of_pieces

_PIECE_BYTES = 1 << 18
_OPEN_FILES = Path("/proc/self/fd")


class Snapshot:
    """A file's content in memory that no other program can reach, hashed in a second thread while it is in use.

    Attributes:
        size: number of bytes.
        path: where to map the bytes from while the snapshot is open; a mapping outlives it. None where the system has
            no anonymous files (other than Linux): the bytes are there, but whoever maps has to copy.
    """

    def __init__(self, source: io.RawIOBase, pool: ThreadPoolExecutor | None) -> None:
        """Read ``source`` to its end; with a pool, hash it there. Raises OSError if it cannot be read."""
        self._hash: Future[str] | None = None
        self._content = b""
        self._descriptor = _anonymous_file()
        self.path = None if self._descriptor is None else str(_OPEN_FILES / str(self._descriptor))
        try:
            self.size = self._fill(source, pool)
        except OSError:
            self.close()
            raise

    def _fill(self, source: io.RawIOBase, pool: ThreadPoolExecutor | None) -> int:
        if self._descriptor is None:
            self._content = source.read()
            if pool is not None:
                self._hash = pool.submit(sha256_of_pieces, [self._content])
            return len(self._content)
        written: SimpleQueue[int] = SimpleQueue()
        if pool is not None:
            self._hash = pool.submit(sha256_of_pieces, self._pieces(written))
        try:
            return self._copy(source, self._descriptor, written)
        finally:
            written.put(0)

    @staticmethod
    def _copy(source: io.RawIOBase, descriptor: int, written: SimpleQueue[int]) -> int:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        size = 0
        while length := source.readinto(buffer):
            done = 0
            while done < length:
                done += os.write(descriptor, buffer[done:length])
            written.put(length)
            size += length
        return size

    def _pieces(self, written: SimpleQueue[int]) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        offset = 0
        while length := written.get():
            self.read_at(offset, buffer[:length])
            yield buffer[:length]
            offset += length

    def read_at(self, offset: int, target: memoryview) -> int:
        """Copy bytes from ``offset`` on into ``target``; how many there were."""
        if self._descriptor is not None:
            return os.preadv(self._descriptor, [target], offset)
        piece = self._content[offset : offset + len(target)]
        target[: len(piece)] = piece
        return len(piece)

    def open(self) -> BinaryIO:
        """A stream over the bytes with a position of its own."""
        return io.BytesIO(self._content) if self.path is None else open(self.path, "rb")

    def sha256(self) -> str:
        """Hex SHA-256 of the bytes; waits for it. Only for a snapshot made with a pool."""
        if self._hash is None:
            raise ValueError("this snapshot is not hashed")
        return self._hash.result()

    def close(self) -> None:
        """Let go of the bytes; mappings made from ``path`` keep them."""
        if self._descriptor is not None:
            if self._hash is not None:
                self._hash.exception()  # wait: it reads from the descriptor
            os.close(self._descriptor)
            self._descriptor = None


def _anonymous_file() -> int | None:
    try:
        return os.memfd_create("weights") if _OPEN_FILES.is_dir() else None
    except (AttributeError, OSError):  # another system, or forbidden in this container
        return None
