"""A file read from front to back whose bytes are hashed in a second thread on their way to the reader."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from medtl_monai.io.hashing import sha256_of_pieces

_PIECE_BYTES = 1 << 18
_PIECES = 4


class HashedStream(io.RawIOBase):
    """For the older PyTorch format. Its reader may ask where it is, but not jump; put a buffer around it.

    The hash thread works on copies of a few pieces, so it never touches memory that the reader may let go of.
    """

    def __init__(self, source: io.RawIOBase, pool: ThreadPoolExecutor | None) -> None:
        """Read on from where ``source`` is, its start; without a pool, nothing is hashed."""
        self._source = source
        self._position = 0
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, int]] = SimpleQueue()
        self._hash: Future[str] | None = None
        if pool is not None:
            for _ in range(_PIECES):
                self._free.put(memoryview(bytearray(_PIECE_BYTES)))
            self._hash = pool.submit(sha256_of_pieces, self._pieces())

    def _pieces(self) -> Iterator[memoryview]:
        while (item := self._full.get())[1]:
            piece, length = item
            yield piece[:length]
            self._free.put(piece)

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``target``, or its first part, with the next bytes; 0 at the end. Raises OSError."""
        view = memoryview(target).cast("B")[:_PIECE_BYTES]
        length = self._source.readinto(view) or 0
        if self._hash is not None and length:
            piece = self._free.get()
            piece[:length] = view[:length]
            self._full.put((piece, length))
        self._position += length
        return length

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, though only to where it is: torch.load insists."""
        return True

    def tell(self) -> int:
        """Number of bytes read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Stay. Raises io.UnsupportedOperation for any other position."""
        if whence == os.SEEK_SET and offset == self._position:
            return self._position
        raise io.UnsupportedOperation("the file is read from front to back")

    def sha256(self) -> str:
        """Hex SHA-256 of the whole file; reads what is left of it. Only for a stream made with a pool."""
        if self._hash is None:
            raise ValueError("this stream is not hashed")
        rest = memoryview(bytearray(_PIECE_BYTES))
        while self.readinto(rest):
            pass
        self._full.put((rest, 0))
        return self._hash.result()

    def close(self) -> None:
        """Let the hash thread go; ``source`` stays open."""
        self._full.put((memoryview(b""), 0))
        super().close()
