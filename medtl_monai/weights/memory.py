"""A file in memory: read once, hashed in a second thread while it is read and used."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import torch

_PIECE_BYTES = 1 << 19  # measured from 1/4 to 8 MB: hashing starts early, and the threads seldom wait for each other
_ALIGNMENT = 64


class Memory:
    """The bytes of a file, in memory of this process's own: a file that changes or goes later does not matter.

    The file is read, not mapped: to shorten a mapped file kills the programs that look at it.

    Attributes:
        view: the bytes, as a buffer.
    """

    def __init__(self, head: bytes, file: io.FileIO, pool: ThreadPoolExecutor | None, aligned: int = 0) -> None:
        """Read a file to its end.

        Args:
            head: what has been read of it.
            file: where the rest comes from.
            pool: where to hash, if a hash is asked for.
            aligned: the position in the file that is to come to lie on a multiple of 64 bytes.

        Raises:
            OSError: the file cannot be read.
        """
        size = max(os.fstat(file.fileno()).st_size, len(head))
        whole = torch.empty(size + _ALIGNMENT, dtype=torch.uint8)
        self._shift = -(whole.data_ptr() + aligned) % _ALIGNMENT
        self._storage = whole.untyped_storage()
        self.view = memoryview(whole.numpy())[self._shift : self._shift + size]
        self.view[: len(head)] = head
        ends: SimpleQueue[int] = SimpleQueue()
        self._hash: Future[str] | None = pool.submit(_sha256, _pieces(self.view, ends)) if pool else None
        try:
            size = self._read(file, len(head), ends)
        finally:
            ends.put(-1)
        self.view = self.view[:size]  # the file may have become shorter since

    def _read(self, file: io.FileIO, position: int, ends: SimpleQueue[int]) -> int:
        ends.put(position)
        while length := file.readinto(self.view[position : position + _PIECE_BYTES]):
            position += length
            ends.put(position)
        return position

    def storage(self, begin: int, end: int, element_bytes: int) -> torch.UntypedStorage:
        """The bytes from ``begin`` to ``end``, where they are if elements of that size may lie there, else copied."""
        part = self._storage[self._shift + begin : self._shift + end]
        return part.clone() if part.data_ptr() % element_bytes else part

    def sha256(self) -> str:
        """Hex SHA-256 of the content, or "" if it was not asked for; waits for it."""
        return self._hash.result() if self._hash is not None else ""


def _pieces(view: memoryview, ends: SimpleQueue[int]) -> Iterator[memoryview]:
    begin = 0
    while (end := ends.get()) >= 0:
        yield view[begin:end]
        begin = end


def _sha256(pieces: Iterator[memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


class MemoryStream(io.RawIOBase):
    """A memory as a file to read from, without a copy of it."""

    def __init__(self, view: memoryview) -> None:
        """Begin at the start."""
        self._view = view
        self._position = 0

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``target`` as far as there are bytes; how many there were."""
        source = self._view[self._position : self._position + len(target)]
        target[: len(source)] = source
        self._position += len(source)
        return len(source)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position. Raises ValueError if it is negative."""
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._view)}[whence]
        if position < 0:
            raise ValueError(f"position {position}")
        self._position = position
        return position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True
