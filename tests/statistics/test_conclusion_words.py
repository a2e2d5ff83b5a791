"""The sentences: "helps" and "hurts" only where the interval says so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.statistics.conclusion import conclusion, labels_conclusion
from medtl_monai.statistics.hierarchical import hierarchical_interval
from medtl_monai.statistics.labels_saved import LabelsSaved
from medtl_monai.statistics.paired import Interval, paired_difference


def interval(differences: list[float]) -> Interval:
    return paired_difference(np.array(differences)[:, None], np.zeros((len(differences), 1)))


CLEAR = interval([0.03, 0.04, 0.05, 0.035, 0.045])
PILOT = interval([0.002, 0.013, -0.082, 0.071, 0.077])


def test_a_clear_gain_helps_for_its_population() -> None:
    text = conclusion(CLEAR, metric="Dice")
    assert text.startswith("Transfer helps compared with training from scratch, for new draws of the labelled cases")
    assert "on these 1 test cases: Dice +0.04 (95 % interval +0.0302 to +0.0498" in text
    assert "could be shown" not in text


def test_a_clear_loss_hurts_and_a_lower_distance_helps() -> None:
    down = interval([-0.03, -0.04, -0.05, -0.035, -0.045])
    assert conclusion(down).startswith("Transfer hurts")
    assert conclusion(down, better="lower").startswith("Transfer helps")
    assert conclusion(CLEAR, better="lower").startswith("Transfer hurts")


def test_the_pilot_shows_nothing_and_says_what_it_could_have_shown() -> None:
    text = conclusion(PILOT, arm="task transfer", metric="Dice")
    assert text.startswith("No difference between task transfer and training from scratch could be shown")
    assert "This does not show that there is none" in text
    assert "a difference of 0.11 or more would have been found with 80 % power" in text  # 3.76 x 0.0288
    assert "about 126 seeds" in text
    assert "helps" not in text
    assert "hurts" not in text


@pytest.mark.parametrize("seed", range(100))
def test_never_more_than_the_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(rng.choice([-0.02, 0, 0.02]), 0.02, (6, 8))
    for found in (paired_difference(table, 0 * table), hierarchical_interval(table, 0 * table)):
        text = conclusion(found)
        assert ("helps" in text) == (found.low > 0)
        assert ("hurts" in text) == (found.high < 0)
        assert ("No difference" in text) == (found.low <= 0 <= found.high)


def test_after_holm_the_adjusted_value_counts_too() -> None:
    assert conclusion(CLEAR, adjusted_p=0.04).startswith("Transfer helps")
    text = conclusion(CLEAR, adjusted_p=0.06)
    assert text.startswith("No difference")
    assert "p = 0.06 after correction for several comparisons" in text


def test_an_adjusted_value_below_its_own_is_refused() -> None:
    """Planted defect: adjusted values in another order than their intervals."""
    with pytest.raises(ConfigError, match="does not belong to this interval"):
        conclusion(PILOT, adjusted_p=0.01)


def test_new_patients_are_named_only_where_the_interval_speaks_of_them() -> None:
    table = np.random.default_rng(0).normal(0.0, 0.02, (6, 8))
    assert "new patients like these 8" in conclusion(hierarchical_interval(table, 0 * table))
    assert "new patients" not in conclusion(paired_difference(table, 0 * table))


def test_more_seeds_are_not_promised_where_cases_are_missing() -> None:
    found = replace(PILOT, population="new_seeds_and_cases", case_error=0.02)
    assert "more seeds are not enough: more test cases are needed" in conclusion(found)


@pytest.mark.parametrize(
    ("relevant", "words"),
    [
        (0.03, "The difference reaches the relevant 0.03."),
        (0.04, "Whether it reaches the relevant 0.04 remains open."),
        (0.06, "Any difference is smaller than the relevant 0.06."),
    ],
)
def test_relevance(relevant: float, words: str) -> None:
    assert conclusion(CLEAR, relevant=relevant).endswith(words)


def test_the_plan_is_for_the_relevant_difference() -> None:
    assert "For the relevant difference of 0.05 about 16 seeds" in conclusion(PILOT, relevant=0.05)


def test_failed_runs_and_few_seeds_are_told() -> None:
    arm = np.array([[0.5], [0.6], [np.nan], [0.75]])
    text = conclusion(paired_difference(arm, np.full((4, 1), 0.4)))
    assert "Left out: 1 of 4 seeds with failed runs (transfer: 1, training from scratch: 0)" in text
    assert "Only 3 seeds" in text


@pytest.mark.parametrize("words", [{"better": "larger"}, {"relevant": 0.0}, {"relevant": math.nan}])
def test_settings_without_sense(words: dict) -> None:
    with pytest.raises(ConfigError):
        conclusion(CLEAR, **words)


def labels(equivalent: float, low: float, high: float, n: float = 4) -> LabelsSaved:
    return LabelsSaved(n, equivalent, low, high, smallest=2, largest=32, level=0.95, seeds=5, left_out=0)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            labels(11.2, 6.5, math.inf),
            "4 labelled cases with transfer do as well as 11.2 from scratch (95 % interval 6.5 to more than 32).",
        ),
        (
            labels(math.inf, math.inf, math.inf),
            "4 labelled cases with transfer do as well as more than 32 from scratch (95 % interval: more than 32).",
        ),
        (
            labels(5.0, 3.1, 9.0),
            "No saving of labels could be shown: 4 labelled cases with transfer do as well as 5 from scratch "
            "(95 % interval 3.1 to 9).",
        ),
        (
            labels(0.0, 0.0, 2.5),
            "None saved, transfer costs labels: 4 labelled cases with transfer do as well as fewer than 2 from "
            "scratch (95 % interval fewer than 2 to 2.5).",
        ),
    ],
)
def test_labels(row: LabelsSaved, words: str) -> None:
    assert labels_conclusion(row) == words
