"""The intervals under known truth: they miss as often as they say; the bootstrap over patients does not."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import optimize

REPETITIONS = 2500
ERROR = 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)
REALISTIC = ("steady", "steady, patients differ", "unsteady", "unsteady, patients alike")


@pytest.fixture(scope="module")
def study(project: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        import study_statistics

        yield study_statistics
        del sys.modules["study_statistics"]


@pytest.fixture(scope="module")
def recorded(project: Path) -> dict:
    return json.loads((project / "benchmarks" / "results" / "study_statistics.json").read_text())


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("name", ["steady", "unsteady"])
def test_false_positives(study: ModuleType, name: str, seeds: int) -> None:
    setting = study.Setting(name, seeds, *study.SPREADS[name])
    found = study.misses(np.random.default_rng(seeds), setting, REPETITIONS)
    assert found["paired"] == pytest.approx(0.05, abs=ERROR)
    assert 0.03 <= found["hierarchical"] <= 0.055 + ERROR
    assert found["patient_bootstrap"] > 0.2


def test_more_than_the_interval_says_is_wrong_more_often(study: ModuleType) -> None:
    """An interval for new seeds, used for new patients, although patients differ."""
    setting = study.Setting("patients differ", 10, 0.005, 0.02, 0.01)
    found = study.misses(np.random.default_rng(1), setting, REPETITIONS)
    assert found["paired_for_new_cases"] > 0.2
    assert found["hierarchical"] <= 0.055 + ERROR


def test_the_record_holds_what_the_docstrings_say(recorded: dict) -> None:
    rows = {(row["name"], row["seeds"]): row["misses"] for row in recorded["settings"]}
    error = 3 * recorded["standard_error_of_a_rate_of_5_percent"]
    for name in (*REALISTIC, "seeds nearly equal"):
        for seeds in (3, 5, 10):
            found = rows[name, seeds]
            assert found["paired"] == pytest.approx(0.05, abs=error)
            assert 0.02 <= found["hierarchical"] <= 0.06
            assert found["patient_bootstrap"] > (0.2 if name in REALISTIC else 0.1)
            assert seeds == 3 or found["hierarchical"] >= 0.04
    assert all(0.01 <= rows["neither differ", seeds]["hierarchical"] <= 0.025 for seeds in (3, 5, 10))
    collapsed = [row for (name, _), row in rows.items() if "collapse" in name]
    assert all(0.07 <= row[method] <= 0.12 for row in collapsed for method in ("paired", "hierarchical"))
    for row in recorded["labels_saved"]:
        assert 0.04 <= row["misses"]["labels_saved"] <= 0.06 < 0.1 < row["misses"]["percentile_bootstrap"]


def test_the_record_was_long_enough(recorded: dict, study: ModuleType) -> None:
    assert int(recorded["command"].split()[-1]) >= 4000
    assert len(recorded["settings"]) == len(study.SETTINGS)


@pytest.mark.parametrize("shape", ["normal", "skewed", "collapse"])
def test_the_drawn_effects_are_standardised(study: ModuleType, shape: str) -> None:
    drawn = study.seed_effects(np.random.default_rng(2), shape, (400_000,))
    assert (drawn.mean(), drawn.std()) == pytest.approx((0, 1), abs=0.01)


def test_the_compared_bootstrap_is_given_a_right_isotonic_regression(study: ModuleType) -> None:
    curves = np.random.default_rng(3).normal(size=(50, 5))
    expected = [optimize.isotonic_regression(curve).x for curve in curves]
    assert np.allclose(study.isotonic(curves), expected)
