"""Where weights files are kept, and how one gets there: local first, hashed always, whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from medtl_monai.errors import OutputError, WeightsError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.io.hashing import sha256_of
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights

_TIMEOUT_S = 15.0


def weights_folder() -> Path:
    """Folder of weights files: ``MEDTL_WEIGHTS``, else ``medtl_monai/weights`` in the user's cache folder (XDG)."""
    if named := os.environ.get("MEDTL_WEIGHTS"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).expanduser() / "medtl_monai" / "weights"


def find_local(row: PretrainedWeights) -> Path | None:
    """The file of a row in :func:`weights_folder` or one folder below it, or None. Its hash is not checked."""
    folder = weights_folder()
    for candidate in (folder / row.file_name, *sorted(folder.glob(f"*/{row.file_name}"))):
        if candidate.is_file():
            return candidate
    return None


def verify(row: PretrainedWeights, path: Path) -> None:
    """Raise WeightsError unless the file has the registered sha256."""
    found = sha256_of(path)
    if found != row.sha256:
        raise WeightsError(
            f"weights {row.name!r} are not the published file",
            path=path,
            expected=f"{row.size_bytes} bytes, sha256 {row.sha256}",
            got=f"{path.stat().st_size} bytes, sha256 {found}",
            remedy=f"delete the file and fetch it again from {row.url}",
        )


def locate(row: PretrainedWeights) -> Path:
    """A verified local file of the row; it is downloaded when absent.

    Raises:
        WeightsError: the local file is damaged, or there is none and it cannot be downloaded; the message says where
            to get it and where to put it.
        OutputError: there is none and the folder cannot be written to.
    """
    path = find_local(row)
    if path is None:
        return fetch(row)
    verify(row, path)
    return path


def fetch(row: PretrainedWeights) -> Path:
    """Download a row into :func:`weights_folder`. The file appears there whole and verified, or not at all.

    Raises:
        WeightsError: offline, or the address answers with something else than the published file.
        OutputError: the folder cannot be written to.
    """
    if os.environ.get("MEDTL_OFFLINE"):
        raise _absent(row, "MEDTL_OFFLINE is set")
    try:
        with urllib.request.urlopen(row.url, timeout=_TIMEOUT_S) as answer:
            content = answer.read(2 * row.size_bytes)
    except (OSError, http.client.HTTPException) as error:  # OSError: no route, refused, time-out, TLS, HTTP status
        raise _absent(row, f"the download failed ({type(error).__name__}: {error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.sha256:
        raise _absent(row, f"{row.url} answered with {len(content):,} bytes of something else (sha256 {found[:16]}...)")
    return _store(row, content)


def import_file(path: str | Path) -> tuple[PretrainedWeights, Path]:
    """Copy a file that the user has into :func:`weights_folder`, recognised by its hash.

    Raises:
        WeightsError: the file is absent or its hash belongs to no registry row.
        OutputError: the folder cannot be written to.
    """
    source = Path(path)
    if not source.is_file():
        raise WeightsError("weights file not found", path=source, remedy="check the path")
    content = source.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    row = next((row for row in REGISTRY.values() if row.sha256 == found), None)
    if row is None:
        raise WeightsError(
            "not a file of the registry",
            path=source,
            expected="; ".join(f"{row.name}: sha256 {row.sha256[:16]}..." for row in REGISTRY.values()),
            got=f"sha256 {found[:16]}...",
            remedy="to train from a file of your own, name it directly: `--source FILE`",
        )
    return row, _store(row, content)


def _store(row: PretrainedWeights, content: bytes) -> Path:
    target = weights_folder() / row.file_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cannot make the weights folder",
            path=target.parent,
            got=error.strerror,
            remedy="set MEDTL_WEIGHTS to a folder that you may write to",
        ) from error
    with atomic_write(target, check=lambda temporary: verify(row, temporary)) as temporary:
        temporary.write_bytes(content)
    return target


def _absent(row: PretrainedWeights, reason: str) -> WeightsError:
    return WeightsError(
        f"weights {row.name!r} are not on this machine and {reason}",
        expected=f"{row.file_name} ({row.size_bytes:,} bytes) in {weights_folder()}",
        got="no such file",
        remedy=f"download {row.url} on a machine with network and run `medtl weights import FILE`, "
        "or set MEDTL_WEIGHTS to the folder that holds it; training from random weights is `--source scratch`",
    )
