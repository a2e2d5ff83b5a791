"""The hash of a file."""

from __future__ import annotations

import hashlib
from os import PathLike

_CHUNK_BYTES = 1 << 20


def sha256_of(path: str | PathLike[str]) -> str:
    """Hex SHA-256 of the bytes of a file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
