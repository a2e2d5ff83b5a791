"""Numbers of seeds and smallest effects: textbook values, the pilot's plan, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from medtl_monai.errors import ConfigError
from medtl_monai.statistics.power import seeds_needed, smallest_effect


@pytest.mark.parametrize(("ratio", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_tabled_numbers_of_pairs(ratio: float, pairs: int) -> None:
    """Paired t test, two-sided 5 %, power 80 %: the numbers that common power programs give."""
    assert seeds_needed(1.0, ratio) == pairs


def test_the_pilots_plan() -> None:
    """The pilot names 120 and 7, by the normal formula; the t test of 7 seeds needs two more."""
    assert seeds_needed(0.064, 0.016) == pytest.approx(120, rel=0.1)
    normal = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * 0.013 / 0.014) ** 2
    assert math.ceil(normal) == 7
    assert seeds_needed(0.013, 0.014) == 9


def test_so_many_seeds_reach_the_power_and_one_fewer_does_not() -> None:
    rng, repetitions = np.random.default_rng(5), 40_000
    seeds = seeds_needed(1.0, 0.9)
    assert seeds is not None

    def share(number: int) -> float:
        return float((stats.ttest_1samp(0.9 + rng.normal(size=(repetitions, number)), 0, axis=1).pvalue < 0.05).mean())

    error = 3 * math.sqrt(0.16 / repetitions)
    assert share(seeds) > 0.8 - error
    assert share(seeds - 1) < 0.8 + error


def test_many_seeds_join_the_exact_number_without_a_step() -> None:
    ratios = np.linspace(0.087, 0.091, 20)  # around the change to the normal formula
    found = [seeds_needed(1.0, ratio) for ratio in ratios]
    exact = [((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / ratio) ** 2 for ratio in ratios]
    assert found == pytest.approx(exact, abs=4)


def test_the_sign_does_not_matter_and_no_spread_needs_two() -> None:
    assert seeds_needed(0.05, -0.03) == seeds_needed(0.05, 0.03)
    assert seeds_needed(0.0, 0.03) == 2


def test_seeds_cannot_replace_cases() -> None:
    """With 0.011 from the cases alone, 0.03 lies at 2.73 standard errors at best; 80 % need 2.80."""
    assert seeds_needed(0.05, 0.03, case_error=0.011) is None
    some = seeds_needed(0.05, 0.03, case_error=0.008)
    assert some is not None
    assert some > (seeds_needed(0.05, 0.03) or 0)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 40])
def test_the_smallest_effect_is_the_one_that_needs_these_seeds(seeds: int) -> None:
    effect = smallest_effect(0.02 / math.sqrt(seeds), seeds - 1)
    assert seeds_needed(0.02, effect * 1.0001) == seeds
    assert seeds_needed(0.02, effect * 0.9999) == seeds + 1


def test_the_smallest_effect_by_simulation() -> None:
    effect, rng = smallest_effect(1 / math.sqrt(5), 4), np.random.default_rng(6)
    shown = stats.ttest_1samp(effect + rng.normal(size=(40_000, 5)), 0, axis=1).pvalue < 0.05
    assert shown.mean() == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 40_000))


@pytest.mark.parametrize(
    ("sd", "effect"), [(0.1, 0.0), (-0.1, 0.1), (math.nan, 0.1), (0.1, math.nan), (math.inf, 0.1), (0.1, math.inf)]
)
def test_sizes_that_make_no_sense(sd: float, effect: float) -> None:
    with pytest.raises(ConfigError, match="no number of seeds exists"):
        seeds_needed(sd, effect)


@pytest.mark.parametrize("power", [0.0, 1.0, 80])
def test_a_power_is_a_fraction(power: float) -> None:
    with pytest.raises(ConfigError, match="power"):
        seeds_needed(0.1, 0.1, power)


@pytest.mark.parametrize(("error", "freedom", "power"), [(0.0, 4, 0.8), (0.1, 0, 0.8), (0.1, 4, 0.01)])
def test_no_smallest_effect(error: float, freedom: float, power: float) -> None:
    with pytest.raises(ConfigError, match="no smallest effect"):
        smallest_effect(error, freedom, power)
