"""Holm's adjustment against an example worked by hand and against the closed test over all subsets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from medtl_monai.errors import DataError
from medtl_monai.statistics.holm import holm


def closed_bonferroni(p_values: list[float]) -> list[float]:
    """Largest Bonferroni p value over all families that hold the comparison; Holm's procedure is its short cut."""
    everything = range(len(p_values))
    families = [family for size in range(1, len(p_values) + 1) for family in combinations(everything, size)]
    return [
        max(min(1.0, len(family) * min(p_values[other] for other in family)) for family in families if one in family)
        for one in everything
    ]


def test_by_hand() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, then never smaller than the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_closed_test(seed: int) -> None:
    p_values = (np.random.default_rng(seed).random(7) ** 3).round(2).tolist()  # rounded, so that ties occur
    assert holm(p_values) == pytest.approx(closed_bonferroni(p_values))


def test_one_comparison_stays_and_none_is_none() -> None:
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_the_family_keeps_its_false_positives() -> None:
    rng = np.random.default_rng(0)
    any_wrong = [min(holm(rng.random(5))) <= 0.05 for _ in range(4000)]
    assert np.mean(any_wrong) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 4000))


def test_all_bad_values_are_named() -> None:
    with pytest.raises(DataError, match=r"nan at position 1, 1\.2 at position 3"):
        holm([0.1, float("nan"), 0.2, 1.2])


@pytest.mark.parametrize("bad", [[[0.1, 0.2]], ["small"]])
def test_no_list_of_numbers(bad: list) -> None:
    with pytest.raises(DataError, match="p values are not"):
        holm(bad)
