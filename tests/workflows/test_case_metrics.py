"""Case scores against brute force in numpy, and their intervals against scipy."""

from __future__ import annotations

import csv
import io
import math
from itertools import product

import numpy as np
import pytest
from scipy import ndimage, stats

from medtl_monai.workflows.case_metrics import CaseScore, case_means, mean_interval, score_case, scores_csv, summarise

NAMES = {0: "background", 1: "first", 2: "second"}


def blobs(rng: np.random.Generator, shape: tuple[int, int, int], smooth: float) -> np.ndarray:
    """A random label map of values 0, 1, 2 with connected pieces."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), smooth)
    return np.digitize(field, np.quantile(field, [0.6, 0.85])).astype(np.uint8)


def surface(mask: np.ndarray) -> np.ndarray:
    """Indices of the voxels of a mask that touch, over a face, a voxel outside it; beyond the array is outside."""
    padded = np.pad(mask, 1)
    found = []
    for index in np.argwhere(padded):
        faces = [
            index + step for axis in range(3) for step in (np.eye(3, dtype=int)[axis], -np.eye(3, dtype=int)[axis])
        ]
        if not all(padded[tuple(face)] for face in faces):
            found.append(index - 1)
    return np.array(found)


def brute_hd95(first: np.ndarray, second: np.ndarray, spacing: tuple[float, float, float]) -> float:
    a, b = (surface(mask) * np.array(spacing) for mask in (first, second))
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    return float(max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95)))


@pytest.mark.parametrize(
    ("seed", "spacing"), list(product(range(3), [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0), (2.0, 0.5, 0.9)]))
)
def test_scores_equal_brute_force(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = (blobs(rng, (11, 9, 8), 1.2) for _ in range(2))
    for row in score_case("x", prediction, truth, spacing, NAMES):
        value = {"first": 1, "second": 2}[row.structure]
        hits = sum(p == value and t == value for p, t in zip(prediction.flat, truth.flat, strict=True))
        sizes = [sum(voxel == value for voxel in volume.flat) for volume in (prediction, truth)]
        assert row.dice == pytest.approx(2 * hits / sum(sizes), abs=1e-12)
        assert row.hd95_mm == pytest.approx(brute_hd95(prediction == value, truth == value, spacing), rel=1e-5)
        assert row.volume_ml == pytest.approx(sizes[0] * math.prod(spacing) / 1000)
        assert row.true_volume_ml == pytest.approx(sizes[1] * math.prod(spacing) / 1000)


def test_a_shift_of_known_length() -> None:
    truth = np.zeros((20, 8, 8), np.uint8)
    truth[4:8, 2:6, 2:6] = 1
    (row, _) = score_case("x", np.roll(truth, 2, axis=0), truth, (3.0, 1.0, 1.0), NAMES)
    assert row.dice == 0.5
    assert row.hd95_mm == pytest.approx(6.0)  # two voxels of 3 mm


def test_empty_structures_are_undefined_and_counted() -> None:
    empty, full = np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), np.uint8)
    missed, absent = score_case("x", empty, full, (1, 1, 1), NAMES)
    assert missed.dice == 0.0
    assert math.isnan(missed.hd95_mm)
    assert math.isnan(absent.dice)
    assert math.isnan(absent.hd95_mm)
    (perfect, _) = score_case("y", full, full, (1, 1, 1), NAMES)
    assert (perfect.dice, perfect.hd95_mm) == (1.0, 0.0)
    summary = summarise([missed, absent, perfect])
    assert summary["second"]["dice"] == {"mean": None, "low": None, "high": None, "cases": 0, "undefined": 1}
    assert summary["first"]["hd95_mm"]["undefined"] == 1
    assert case_means([missed, absent, perfect]) == {"x": 0.0, "y": 1.0}  # the absent structure does not count


def test_a_case_without_any_defined_score_is_undefined() -> None:
    nothing = np.zeros((2, 2, 2), np.uint8)
    assert math.isnan(case_means(score_case("x", nothing, nothing, (1, 1, 1), NAMES))["x"])


@pytest.mark.parametrize("count", [2, 3, 36])
def test_interval_equals_scipy(count: int) -> None:
    values = np.random.default_rng(count).uniform(0.5, 0.9, count)
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = mean_interval([*values, math.nan])
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high), abs=6e-6)
    assert found["mean"] == pytest.approx(values.mean(), abs=6e-6)
    assert (found["cases"], found["undefined"]) == (count, 1)


def test_the_interval_of_one_case_is_not_zero_wide() -> None:
    assert mean_interval([0.7]) == {"mean": 0.7, "low": None, "high": None, "cases": 1, "undefined": 0}


def test_csv_has_a_row_per_case_and_structure() -> None:
    rows = [CaseScore("a,b", "first", 0.5, math.nan, 1.25, 2.0)]
    (row,) = csv.DictReader(io.StringIO(scores_csv(rows)))
    assert row["case"] == "a,b"
    assert (float(row["dice"]), math.isnan(float(row["hd95_mm"])), float(row["volume_ml"])) == (0.5, True, 1.25)
