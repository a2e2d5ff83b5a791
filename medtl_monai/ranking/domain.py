"""How far the user's data lie from a source's own, where features of those were kept."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import WeightsError
from medtl_monai.io.atomic import write_bytes
from medtl_monai.transfer.scores.domain import frechet_squared, mmd_test
from medtl_monai.transfer.scores.inputs import checked_features

_SUFFIX = ".domain.npz"
_PERMUTATIONS = 199


@dataclass(frozen=True)
class DomainDistance:
    """Distance between the features of the source's own data and of the user's.

    Attributes:
        mmd_squared: unbiased; 0 on average for equal domains.
        p_value: share of permutations of whole patients that reach it.
        frechet: squared Frechet distance; grows as rows get fewer.
    """

    mmd_squared: float
    p_value: float
    frechet: float


def write_source_domain(weights: Path, features: ArrayLike, groups: ArrayLike) -> Path:
    """Keep features of the data that a network was trained on, beside its weights file, and return the file's path.

    Args:
        weights: the weights file.
        features: ``(N, D)``, the mean of the encoder's deepest map per image, as ``medtl rank`` takes it.
        groups: ``(N,)`` patient of each row, by names that no other data set uses.

    Raises:
        DataError: malformed features.
        OutputError: the file cannot be written.
    """
    target = weights.with_name(f"{weights.name}{_SUFFIX}")
    stream = io.BytesIO()
    np.savez_compressed(
        stream, features=checked_features(features).astype(np.float32), groups=np.asarray(groups).astype(np.str_)
    )
    write_bytes(target, stream.getvalue())
    return target


def distance_to_source(weights: Path, features: np.ndarray, groups: np.ndarray, seed: int) -> DomainDistance | None:
    """The distance, or None where no features of the source's own data were kept.

    Args:
        weights: the source's weights file.
        features: ``(N, D)`` of the user's images.
        groups: ``(N,)`` their patients.
        seed: of the permutations.

    Raises:
        WeightsError: the file with the features is damaged.
        DataError: features of another width, or a patient in both data sets.
    """
    place = weights.with_name(f"{weights.name}{_SUFFIX}")
    if not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as stored:
            own, patients = stored["features"], stored["groups"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError("the features of the source's own data cannot be read", path=place, got=error) from error
    test = mmd_test(own, features, patients, groups.astype(np.str_), permutations=_PERMUTATIONS, seed=seed)
    return DomainDistance(test.mmd_squared, test.p_value, frechet_squared(own, features))
