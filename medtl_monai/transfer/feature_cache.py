"""Frozen features kept on disk, found again by the content of the network and of the image, never by a name."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from medtl_monai.errors import DataError, OutputError
from medtl_monai.io.atomic import write_bytes
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.features import FrozenFeatures

_VERSION = "medtl features 1"  # a change of what the features are needs a new one
_SUFFIX = ".features"
_DIGEST = hashlib.sha256().digest_size
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # functions in a repr: other in every process


@dataclass(frozen=True)
class CachedFeatures:
    """Features of some cases and where they came from.

    Attributes:
        cases: names, in the order given.
        features: ``(N, F)`` float32, one row per case.
        computed: cases that the network had to see: new, or damaged on disk.
        damaged: cases whose file was there but not whole; they were computed again and the file replaced.
    """

    cases: tuple[str, ...]
    features: np.ndarray
    computed: tuple[str, ...]
    damaged: tuple[str, ...]


def _add_tensor(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    plain = tensor.detach().as_subclass(torch.Tensor).cpu().contiguous()
    digest.update(memoryview(plain.reshape(-1).view(torch.uint8).numpy()))


def network_key(features: FrozenFeatures) -> str:
    """Hex SHA-256 of all that the features depend on beside the image.

    That is: every parameter and buffer of the encoder, its class, name and layers (strides, paddings), the level, the
    pooling, and the backend that computes them. Not the device, nor the version of torch.
    """
    encoder = features.encoder
    digest = hashlib.sha256()
    described = (
        _VERSION,
        f"{type(encoder).__module__}.{type(encoder).__qualname__}",
        encoder.architecture,
        _ADDRESS.sub("", repr(encoder)),
        repr((encoder.in_channels, encoder.channels, encoder.strides, encoder.size_multiple, encoder.min_size)),
        repr((features.level, features.pool, features.backend)),
    )
    digest.update(repr(described).encode())
    for name, tensor in itertools.chain(encoder.named_parameters(), encoder.named_buffers()):
        _add_tensor(digest, name, tensor)
    return digest.hexdigest()


def _case_key(network: str, image: torch.Tensor) -> str:
    digest = hashlib.sha256(network.encode())
    _add_tensor(digest, "image", image)
    return digest.hexdigest()


def _pack(key: str, vector: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, vector, allow_pickle=False)
    return hashlib.sha256(key.encode() + stream.getvalue()).digest() + stream.getvalue()


def _unpack(key: str, data: bytes, size: int) -> np.ndarray | None:
    """The stored vector, or None unless the file is whole, of this very key and of the right length."""
    digest, payload = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(key.encode() + payload).digest() != digest:
        return None
    vector = np.load(io.BytesIO(payload), allow_pickle=False)
    right = vector.shape == (size,) and vector.dtype == np.float32 and bool(np.isfinite(vector).all())
    return vector if right else None


def _stored(path: Path, key: str, size: int) -> tuple[np.ndarray | None, bool]:
    """The vector in a file, if any, and whether the file is there but damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, False
    except OSError:
        return None, True  # computed again; if the place itself is bad, writing there says so
    vector = _unpack(key, data, size)
    return vector, vector is None


def _computed(features: FrozenFeatures, name: str, image: torch.Tensor) -> np.ndarray:
    try:
        vector = features(image[None])[0].cpu().numpy()
    except DataError as error:
        raise DataError(error.problem, case=name, expected=error.expected, got=error.got) from error
    if not np.isfinite(vector).all():
        raise DataError("features are not finite", case=name, remedy="look for NaN in the image or in the weights")
    return vector


def _folder(folder: str | PathLike[str]) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot make the folder of the cache", path=path, got=error.strerror) from error
    return path


def cached_features(
    folder: str | PathLike[str],
    network: FrozenFeatures | StagedNetwork,
    cases: Iterable[tuple[str, torch.Tensor]],
) -> CachedFeatures:
    """Features of every case, from disk where the same network has seen the same image.

    One file per pair of network and image, its name the SHA-256 of both: another weight, level, pooling or voxel is
    another file. Files are written whole or not at all, so several processes may share a folder. A file that fails its
    own checksum is computed again, replaced and reported in ``damaged``. Images are seen one at a time, so features do
    not depend on what else is in a batch.

    Args:
        folder: made if it is not there.
        network: the features to take, or a network for the defaults of :class:`FrozenFeatures`.
        cases: names and images ``(C, H, W[, D])``; read once, one at a time.

    Raises:
        DataError: no cases, a name twice, or images that the encoder does not take or that give features that are not
            finite; all such cases are named, good ones are stored by then.
        ConfigError: as :class:`FrozenFeatures`.
        OutputError: the folder cannot be written to.
    """
    place = _folder(folder)
    features = network if isinstance(network, FrozenFeatures) else FrozenFeatures(network)
    key = network_key(features)
    rows: dict[str, np.ndarray] = {}
    computed: list[str] = []
    damaged: list[str] = []
    faults: list[str] = []
    seen: set[str] = set()
    for name, image in cases:
        if name in seen:
            faults.append(f"case {name}: named twice")
            continue
        seen.add(name)
        try:
            rows[name] = _one(place, features, (name, image, _case_key(key, image)), computed, damaged)
        except DataError as error:
            faults.append(str(error))
    if faults or not rows:
        raise DataError("no features of these cases", expected="one image or more, all usable", got=_listed(faults))
    return CachedFeatures(tuple(rows), np.stack(list(rows.values())), tuple(computed), tuple(damaged))


def _listed(faults: list[str]) -> str:
    return " | ".join(faults) or "no cases"


def _one(
    place: Path,
    features: FrozenFeatures,
    case: tuple[str, torch.Tensor, str],
    computed: list[str],
    damaged: list[str],
) -> np.ndarray:
    name, image, key = case
    path = place / f"{key}{_SUFFIX}"
    vector, broken = _stored(path, key, features.size)
    if vector is None:
        vector = _computed(features, name, image)
        write_bytes(path, _pack(key, vector))
        computed.append(name)
        if broken:
            damaged.append(name)
    return vector
