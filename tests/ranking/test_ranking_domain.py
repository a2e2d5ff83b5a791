"""The distance to a source's own data is measured or not known, never made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medtl_monai.errors import DataError, WeightsError
from medtl_monai.ranking.domain import distance_to_source, write_source_domain


def test_not_known_without_features(tmp_path: Path) -> None:
    assert distance_to_source(tmp_path / "model.pt", np.zeros((4, 2)), np.arange(4), 0) is None


def test_the_same_domain_is_near_and_another_one_far(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own = [f"source{number}" for number in range(40)]
    write_source_domain(tmp_path / "model.pt", rng.normal(size=(40, 6)), own)
    near = distance_to_source(tmp_path / "model.pt", rng.normal(size=(40, 6)), np.arange(40), 0)
    far = distance_to_source(tmp_path / "model.pt", rng.normal(2.0, 1.0, size=(40, 6)), np.arange(40), 0)
    assert near is not None
    assert far is not None
    assert near.p_value > 0.05
    assert far.p_value == pytest.approx(1 / 200)
    assert far.mmd_squared > 10 * abs(near.mmd_squared)
    assert far.frechet > 6 * 2.0**2 * 0.7


def test_a_patient_of_the_source_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(5, 3))
    place = write_source_domain(tmp_path / "model.pt", features, list("abcde"))
    with pytest.raises(DataError, match="patients in both domains"):
        distance_to_source(tmp_path / "model.pt", features, np.array(list("vwxya")), 0)
    place.write_bytes(place.read_bytes()[:40])
    with pytest.raises(WeightsError, match="cannot be read"):
        distance_to_source(tmp_path / "model.pt", features, np.array(list("vwxyz")), 0)
