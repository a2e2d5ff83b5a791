"""The hash of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from os import PathLike

_CHUNK_BYTES = 1 << 20


def sha256_of(path: str | PathLike[str]) -> str:
    """Hex SHA-256 of the bytes of a file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_pieces(pieces: Iterable[bytes | memoryview]) -> str:
    """Hex SHA-256 of pieces of memory one after the other. Each may be reused once the next is asked for."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
