"""Arrays kept on disk, found again by the content of all that they depend on."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medtl_monai.errors import OutputError
from medtl_monai.io.atomic import write_bytes

_DIGEST = hashlib.sha256().digest_size


def user_cache() -> Path:
    """Where features are kept when no output folder is named: ``medtl_monai/features`` in the user's cache (XDG)."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()
    return root / "medtl_monai" / "features"


class ArrayCache:
    """Arrays in a folder, one file each, named by the SHA-256 of what they depend on.

    Files are written whole or not at all; one that fails its own checksum is computed again and replaced.

    Args:
        folder: made if it is not there.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError("cannot make the folder of the cache", path=folder, got=error.strerror) from error

    def get(self, parts: Sequence[str | np.ndarray], make: Callable[[], np.ndarray]) -> tuple[np.ndarray, bool]:
        """The array that ``parts`` determine, and whether ``make`` had to be called for it.

        Raises:
            OutputError: the file cannot be written.
        """
        key = _key(parts)
        path = self.folder / f"{key}.array"
        stored = _stored(path, key)
        if stored is not None:
            return stored, False
        made = make()
        write_bytes(path, _packed(key, made))
        return made, True


def _key(parts: Sequence[str | np.ndarray]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"text {len(part)} {part}\n".encode())
        else:
            digest.update(f"array {part.dtype} {part.shape}\n".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _packed(key: str, array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return hashlib.sha256(key.encode() + stream.getvalue()).digest() + stream.getvalue()


def _stored(path: Path, key: str) -> np.ndarray | None:
    """The array in a file, or None unless the file is there and whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, payload = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(key.encode() + payload).digest() != digest:
        return None
    return np.load(io.BytesIO(payload), allow_pickle=False)
