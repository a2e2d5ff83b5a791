"""Where weights files are kept, and how one gets there: local first, hashed always, whole or absent."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from medtl_monai.errors import OutputError, WeightsError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.io.hashing import sha256_of
from medtl_monai.weights.download import DownloadError, download
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights

_STALE_S = 24 * 3600.0  # no live download goes a day without writing


def weights_folder() -> Path:
    """Folder of weights files: ``MEDTL_WEIGHTS``, else ``medtl_monai/weights`` in the user's cache folder (XDG)."""
    if named := os.environ.get("MEDTL_WEIGHTS"):
        return Path(named).expanduser()
    return _cache() / "medtl_monai" / "weights"


def torch_hub_folder() -> Path:
    """Folder where torchvision keeps its downloads: ``hub/checkpoints`` in ``TORCH_HOME`` or the user's cache."""
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else _cache() / "torch") / "hub" / "checkpoints"


def is_offline() -> bool:
    """Whether ``MEDTL_OFFLINE`` forbids downloads: it is set, and not to ``0`` or ``false``."""
    return os.environ.get("MEDTL_OFFLINE", "").strip().lower() not in {"", "0", "false"}


def find_local(row: PretrainedWeights) -> Path | None:
    """The file of a row on this machine, or None. Its hash is not checked.

    Looks in :func:`weights_folder`, one folder below it, and then, for files whose name carries their hash, in
    :func:`torch_hub_folder`; a name such as ``resnet_10.pth`` could be anybody's there.
    """
    folder = weights_folder()
    candidates = [folder / row.file_name, *sorted(folder.glob(f"*/{row.file_name}"))]
    if row.name_carries_hash:
        candidates.append(torch_hub_folder() / row.file_name)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def require_hash(row: PretrainedWeights, sha256: str, path: Path) -> None:
    """Raise WeightsError unless ``sha256``, the full hash of the file at ``path``, is the registered one."""
    if row.matches(sha256):
        return
    known = "sha256" if len(row.sha256) == 64 else "sha256 that begins with"
    again = f"import the right one: {row.converted}" if row.converted else f"fetch it again from {row.url}"
    raise WeightsError(
        f"weights {row.name!r} are not the published file",
        path=path,
        expected=f"{_size(row)}, {known} {row.sha256}",
        got=f"{path.stat().st_size} bytes, sha256 {sha256}",
        remedy=f"delete the file and {again}",
    )


def verify(row: PretrainedWeights, path: Path) -> str:
    """The full sha256 of a file, read once. Raises WeightsError unless it is the registered one."""
    found = sha256_of(path)
    require_hash(row, found, path)
    return found


def obtain(row: PretrainedWeights) -> Path:
    """A local file of the row, downloaded when absent. A file that was there is not verified: see :func:`require_hash`.

    For readers that hash the file while they read it; everyone else takes :func:`locate`. Raises as :func:`fetch`.
    """
    return find_local(row) or fetch(row)


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

    Several processes may do so at once: each downloads for itself, and the last rename wins with the same content.

    Raises:
        WeightsError: offline, not to be downloaded, or the address answers with something else than the published file.
        OutputError: the folder cannot be written to, or the disk is full.
    """
    if row.converted:
        raise _absent(row, "cannot be downloaded, because they were converted")
    if is_offline():
        raise _absent(row, "MEDTL_OFFLINE is set")
    target = _target(row)
    _sweep(target)
    try:
        with atomic_write(target) as temporary:
            found, size = download(row.url, temporary, most=_most_bytes(row), label=row.name)
            if not row.matches(found):
                raise DownloadError(
                    f"{row.url} answered with {size:,} bytes of something else (sha256 {found[:16]}...)"
                )
    except DownloadError as error:
        raise _absent(row, str(error)) from error
    return target


def import_file(path: str | Path) -> tuple[PretrainedWeights, Path]:
    """Copy a file that the user has into :func:`weights_folder`, recognised by its hash whatever its name.

    Raises:
        WeightsError: the file is absent or its hash belongs to no registry row.
        OutputError: the folder cannot be written to.
    """
    source = Path(path)
    if not source.is_file():
        raise WeightsError("weights file not found", path=source, remedy="check the path")
    found = sha256_of(source)
    row = next((row for row in REGISTRY.values() if row.matches(found)), None)
    if row is None:
        namesakes = [
            f"{row.name}: sha256 {row.sha256[:16]}" for row in REGISTRY.values() if row.file_name == source.name
        ]
        raise WeightsError(
            "not a file of the registry",
            path=source,
            expected="; ".join(namesakes) or f"the sha256 of one of the {len(REGISTRY)} files in the registry",
            got=f"sha256 {found[:16]}, {source.stat().st_size} bytes",
            remedy="to train from a file of your own, name it directly: `--source FILE`",
        )
    target = _target(row)
    if not (target.exists() and target.samefile(source)):
        with atomic_write(target, check=lambda temporary: verify(row, temporary)) as temporary:
            shutil.copyfile(source, temporary)
    return row, target


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()


def _most_bytes(row: PretrainedWeights) -> int:
    """Where a download is cut off. An estimated size has to leave room for what was saved beside the parameters."""
    return (4 if row.size_bytes is None else 2) * row.about_bytes


def _size(row: PretrainedWeights) -> str:
    about = "" if row.size_bytes is not None and row.size_tolerance == 0 else "about "
    return f"{about}{row.about_bytes:,} bytes"


def _target(row: PretrainedWeights) -> Path:
    """The file's place in the weights folder, which is made if need be."""
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
    return target


def _sweep(target: Path) -> None:
    """Remove what killed downloads of the same file left behind; those of live ones are younger."""
    for left in target.parent.glob(f".{'[0-9a-f]' * 12}-{target.name}"):
        with suppress(OSError):  # another process may have been faster
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()


def _absent(row: PretrainedWeights, reason: str) -> WeightsError:
    if row.converted:
        how = f"run `medtl weights import FILE` with the converted file ({row.converted}; {row.url})"
    else:
        how = f"download {row.url} on a machine with network and run `medtl weights import FILE`"
    return WeightsError(
        f"weights {row.name!r} are not on this machine and {reason}",
        expected=f"{row.file_name} ({_size(row)}) in {weights_folder()}",
        got="no such file",
        remedy=f"{how}, or set MEDTL_WEIGHTS to the folder that holds it; "
        "training from random weights is `--source scratch`",
    )
