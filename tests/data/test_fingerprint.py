"""Fingerprints: equal for equal scans however stored, different for any other scan."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from medtl_monai.data.fingerprint import file_sha256, fingerprint, series_sha256, voxel_fingerprint
from medtl_monai.errors import DataError, FormatError
from medtl_monai.io.volume import Volume

ARRAY = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)


def volume(array: np.ndarray = ARRAY, affine: np.ndarray | None = None) -> Volume:
    return Volume(array, np.eye(4) if affine is None else affine, "a")


@pytest.mark.parametrize(
    "same",
    [ARRAY.astype(np.float32), ARRAY.astype(">i2"), np.asfortranarray(ARRAY), ARRAY.astype(np.float64)],
    ids=["float32", "big endian", "memory order", "float64"],
)
def test_storage_does_not_matter(same: np.ndarray) -> None:
    assert fingerprint(volume(same)) == fingerprint(volume())


def test_negative_zero_is_zero() -> None:
    zeros = np.zeros((2, 2, 2), np.float32)
    assert voxel_fingerprint(zeros) == voxel_fingerprint(-zeros)


def test_one_voxel_the_shape_or_the_place_matter() -> None:
    other, moved = ARRAY.copy(), np.eye(4)
    other[1, 2, 1] ^= 1
    moved[0, 3] = 0.1
    several = [volume(), volume(other), volume(ARRAY.reshape(4, 5, 3)), volume(ARRAY[::-1]), volume(affine=moved)]
    assert len({fingerprint(item) for item in several}) == len(several)


def test_affine_noise_does_not_matter_but_only_fingerprint_sees_the_affine() -> None:
    noisy, moved = np.eye(4), np.diag([2.0, 1, 1, 1])
    noisy[0, 1] = -1e-7
    assert fingerprint(volume(affine=noisy)) == fingerprint(volume())
    assert fingerprint(volume(affine=moved)) != fingerprint(volume())
    assert voxel_fingerprint(volume(affine=moved).array) == voxel_fingerprint(ARRAY)


@pytest.mark.parametrize("dtype", [np.complex64, object])
def test_other_voxels_are_refused(dtype: type) -> None:
    with pytest.raises(FormatError, match="real numbers"):
        voxel_fingerprint(ARRAY.astype(dtype))


def test_file_hash_is_that_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(bytes(3 * 2**20 + 1))
    assert file_sha256(path) == hashlib.sha256(bytes(3 * 2**20 + 1)).hexdigest()
    with pytest.raises(DataError, match="absent"):
        file_sha256(tmp_path / "absent")


def test_series_hash_ignores_names_only(tmp_path: Path) -> None:
    def series(name: str, files: dict[str, bytes]) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return series_sha256(folder)

    first = series("a", {"1": b"x", "2": b"y"})
    assert series("b", {"2": b"x", "1": b"y"}) == first
    assert series("c", {"1": b"x", "2": b"z"}) != first
    assert series("d", {"1": b"x"}) != first
    with pytest.raises(DataError, match="no files"):
        series("e", {})
