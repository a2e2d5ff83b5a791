"""Features of the user's images from one source: a vector per image, or a vector per sampled voxel."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from medtl_monai.errors import DataError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.ranking.cache import ArrayCache
from medtl_monai.ranking.heads import image_head, voxel_head
from medtl_monai.ranking.images import SampledVoxels, prepared, whole, window_of
from medtl_monai.ranking.target import TargetCase
from medtl_monai.transfer.feature_cache import cached_features, network_key
from medtl_monai.transfer.features import FrozenFeatures, dense_features
from medtl_monai.weights.row import PretrainedWeights

_DENSE, _HEAD = "medtl dense features 1", "medtl source probabilities 1"  # a change of what they are needs a new one


@dataclass(frozen=True)
class SourceFeatures:
    """What one source makes of the user's data.

    Attributes:
        features: ``(N, D)`` float32; a row per image, or per voxel.
        labels: ``(N,)`` classes.
        groups: ``(N,)`` patient of each row.
        cases: ``(N,)`` case of each row.
        probabilities: ``(N, Z)`` of the source's own classes, or None where its head is not there.
        seconds: of the network, per image that it had to see; None where all came from the cache.
        damaged: files of the cache that were not whole and were made again.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    cases: np.ndarray
    probabilities: np.ndarray | None
    seconds: float | None
    damaged: tuple[str, ...] = ()


@dataclass
class _Clock:
    """Seconds spent on reading, so that they can be told apart from those of the network."""

    reading: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def network(self) -> float:
        return time.perf_counter() - self.started - self.reading


def pooled(
    cases: Sequence[TargetCase], encoder: Encoder, row: PretrainedWeights | None, folder: Path
) -> SourceFeatures:
    """A feature vector per image: the mean of the encoder's deepest map. One image at a time is in memory.

    Args:
        cases: their labels are classes.
        encoder: filled.
        row: of the registry, for the source's own head; None for other sources.
        folder: of the cache.

    Raises:
        DataError: images that cannot be read or prepared, or features that are not finite; all cases are named.
    """
    clock = _Clock()
    found = cached_features(folder, FrozenFeatures(encoder), _images(cases, encoder, clock))
    seconds = clock.network() / len(found.computed) if found.computed else None
    labels = np.array([int(case.label) for case in cases])
    names = np.array([case.case for case in cases])
    groups = np.array([case.patient for case in cases])
    probabilities = _probabilities(cases, encoder, row, ArrayCache(folder))
    return SourceFeatures(found.features, labels, groups, names, probabilities, seconds, found.damaged)


def _images(cases: Sequence[TargetCase], encoder: Encoder, clock: _Clock) -> Iterator[tuple[str, torch.Tensor]]:
    for case in cases:
        started = time.perf_counter()
        image = whole(prepared(case.image, case.case, encoder, case.colour))
        clock.reading += time.perf_counter() - started
        yield case.case, image


@torch.no_grad()
def _probabilities(
    cases: Sequence[TargetCase], encoder: Encoder, row: PretrainedWeights | None, cache: ArrayCache
) -> np.ndarray | None:
    head = None if row is None else image_head(row, encoder)
    if head is None or row is None:
        return None
    encoder.eval()
    key = f"{_HEAD} {row.sha256} {network_key(FrozenFeatures(encoder))}"
    found = []
    for name, image in _images(cases, encoder, _Clock()):
        vector, _ = cache.get([key, image.numpy()], lambda image=image: head(image[None]).numpy())  # type: ignore[misc]
        found.append(_finite(vector[None], name)[0])
    return np.stack(found)


def dense(
    cases: Sequence[TargetCase],
    voxels: Mapping[str, SampledVoxels],
    encoder: Encoder,
    row: PretrainedWeights | None,
    folder: Path,
) -> SourceFeatures:
    """A feature vector per sampled voxel, from all levels of the encoder. One image at a time is in memory.

    Args:
        cases: their labels are label maps.
        voxels: by case; the same ones for every source.
        encoder: filled.
        row: of the registry, for the source's own head; None for other sources.
        folder: of the cache.

    Raises:
        DataError: an image that cannot be read or prepared, or features that are not finite; the case is named.
    """
    cache, key = ArrayCache(folder), f"{_DENSE} {network_key(FrozenFeatures(encoder))}"
    tables, seconds, computed = [], 0.0, 0
    for case in cases:
        window, places = window_of(prepared(case.image, case.case, encoder, case.colour), voxels[case.case])
        started = time.perf_counter()
        table, new = cache.get(
            [key, window.numpy(), places],
            lambda window=window, places=places: dense_features(encoder, window, places).numpy(),  # type: ignore[misc]
        )
        seconds, computed = seconds + new * (time.perf_counter() - started), computed + new
        tables.append(_finite(table, case.case))
    features = np.concatenate(tables)
    counts = [len(voxels[case.case].labels) for case in cases]
    return SourceFeatures(
        features,
        np.concatenate([voxels[case.case].labels for case in cases]),
        np.repeat([case.patient for case in cases], counts),
        np.repeat([case.case for case in cases], counts),
        _voxel_probabilities(features, encoder, row),
        seconds / computed if computed else None,
    )


@torch.no_grad()
def _voxel_probabilities(features: np.ndarray, encoder: Encoder, row: PretrainedWeights | None) -> np.ndarray | None:
    head = None if row is None else voxel_head(row, encoder)
    if head is None:
        return None
    last = torch.from_numpy(features[:, -encoder.channels[-1] :]).T[None, :, :, None, None]
    return head(last).softmax(dim=1)[0, :, :, 0, 0].T.numpy()


def _finite(table: np.ndarray, case: str) -> np.ndarray:
    if not np.isfinite(table).all():
        raise DataError("features are not finite", case=case, remedy="look for NaN in the image or in the weights")
    return table
