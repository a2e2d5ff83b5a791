"""Intervals against scipy, DeLong's formula, and what clusters must do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from medtl_monai.errors import DataError
from medtl_monai.workflows.classification_intervals import auc_interval, proportion_interval


def people(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


@pytest.mark.parametrize(("hits", "cases"), [(0, 12), (3, 12), (12, 12), (59, 60)])
def test_single_cases_have_the_wilson_interval(hits: int, cases: int) -> None:
    found = proportion_interval([i < hits for i in range(cases)], people(cases))
    wanted = stats.binomtest(hits, cases).proportion_ci(0.95, method="wilson")
    assert found == {
        "value": hits / cases,
        "low": pytest.approx(wanted.low, abs=1e-12),
        "high": pytest.approx(wanted.high, abs=1e-12),
        "cases": cases,
        "patients": cases,
    }


def test_copies_of_cases_are_no_new_evidence() -> None:
    rng = np.random.default_rng(0)
    hits, patients = list(rng.random(40) < 0.7), people(40)
    once, five = proportion_interval(hits, patients), proportion_interval(hits * 5, patients * 5)
    assert five["low"] == pytest.approx(once["low"], abs=0.005)
    assert five["high"] == pytest.approx(once["high"], abs=0.005)
    assert (five["cases"], five["patients"]) == (200, 40)
    full = proportion_interval([True] * 30, ["a", "b", "c"] * 10)
    assert full["low"] == pytest.approx(stats.binomtest(3, 3).proportion_ci(0.95, method="wilson").low)


def test_one_patient_is_one_observation_and_nobody_is_none() -> None:
    interval = proportion_interval([True, True, False, True], ["a"] * 4)
    assert interval["high"] - interval["low"] > 0.6  # type: ignore[operator]
    assert proportion_interval([], [])["value"] is None
    with pytest.raises(DataError):
        proportion_interval([True], [])


def delong(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """AUC and variance by DeLong, DeLong & Clarke-Pearson (1988), with plain loops."""
    ill, well = scores[truth], scores[~truth]
    wins = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in well] for x in ill]
    by_ill, by_well = np.mean(wins, axis=1), np.mean(wins, axis=0)
    variance = np.var(by_ill, ddof=1) / len(ill) + np.var(by_well, ddof=1) / len(well)
    return float(np.mean(wins)), float(variance)


def test_auc_of_single_cases_is_delongs() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(50) < 0.4
    scores = np.round(rng.normal(truth * 1.0), 1)  # with ties
    found = auc_interval(scores.tolist(), truth.tolist(), people(50))
    area, variance = delong(scores, truth)
    assert found["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["value"] == pytest.approx(area)
    logit, half = math.log(area / (1 - area)), stats.norm.ppf(0.975) * math.sqrt(variance) / (area * (1 - area))
    assert found["low"] == pytest.approx(1 / (1 + math.exp(-logit + half)))
    assert found["high"] == pytest.approx(1 / (1 + math.exp(-logit - half)))


def test_copies_do_not_narrow_the_interval_of_an_auc() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random(30) < 0.5).tolist()
    scores = rng.normal(np.array(truth) * 1.0).tolist()
    once, thrice = auc_interval(scores, truth, people(30)), auc_interval(scores * 3, truth * 3, people(30) * 3)
    for key in ("value", "low", "high"):
        assert thrice[key] == pytest.approx(once[key])
    independent = auc_interval(scores * 3, truth * 3, people(90))
    assert independent["high"] - independent["low"] < once["high"] - once["low"]  # type: ignore[operator]


def test_the_interval_of_clustered_cases_covers() -> None:
    """Patients of 1 to 4 correlated cases: near 95 % of the intervals hold the true AUC; taken as single, fewer do."""
    rng = np.random.default_rng(3)
    true = float(stats.norm.cdf(1.0 / math.sqrt(2 * 2)))  # two scores differ by N(1, 4): variance 1 + 1 each
    clustered = single = 0
    for _ in range(300):
        sizes = rng.integers(1, 5, 60)
        patients = np.repeat(np.arange(60), sizes)
        truth = np.repeat(rng.random(60) < 0.5, sizes)
        scores = truth + rng.normal(size=60)[patients] + rng.normal(size=len(patients))
        for count, names in enumerate((patients, np.arange(len(patients)))):
            interval = auc_interval(scores.tolist(), truth.tolist(), [str(name) for name in names])
            holds = interval["low"] <= true <= interval["high"]  # type: ignore[operator]
            clustered, single = clustered + (holds and count == 0), single + (holds and count == 1)
    assert clustered >= 0.91 * 300
    assert single < clustered


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_no_auc_without_both_classes(truth: list[bool]) -> None:
    assert auc_interval([0.1, 0.9], truth, ["a", "b"])["value"] is None


def test_no_bounds_where_there_is_no_variance_to_estimate() -> None:
    perfect = auc_interval([0.1, 0.2, 0.8, 0.9], [False, False, True, True], people(4))
    assert (perfect["value"], perfect["low"], perfect["high"]) == (1.0, None, None)
    alone = auc_interval([0.1, 0.5, 0.4], [False, False, True], people(3))
    assert (alone["value"], alone["low"]) == (0.5, None)
