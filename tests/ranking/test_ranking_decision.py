"""Who is ahead: not by chance, and not because the best was picked after looking."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medtl_monai.errors import ConfigError
from medtl_monai.ranking.decision import decide, interval_of
from medtl_monai.transfer.scores.bootstrap import ResampledScore

PATIENTS, KEPT, DRAWS = 40, 32, 200


def draws_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(PATIENTS)[:KEPT] for _ in range(DRAWS)])


def mean_scores(values: np.ndarray, seed: int = 0) -> dict[str, ResampledScore]:
    """Scores that are means of ``values`` ``(sources, patients)``."""
    draws = draws_of(seed)
    return {
        f"source{number}": ResampledScore(float(own.mean()), own[draws].mean(axis=1), PATIENTS, KEPT, str(seed))
        for number, own in enumerate(values)
    }


def test_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, PATIENTS)
    own = interval_of(mean_scores(values[None], 1)["source0"])
    reach = stats.t.ppf(0.975, PATIENTS - 1) * values.std(ddof=1) / np.sqrt(PATIENTS)
    assert own.high - own.estimate == pytest.approx(reach, rel=0.15)


def test_two_sources_have_the_interval_of_the_paired_difference() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 10, PATIENTS)  # hard and easy patients: alike for both
    values = np.stack([shared + rng.normal(1.0, 0.5, PATIENTS), shared + rng.normal(0.0, 0.5, PATIENTS)])
    decision = decide(mean_scores(values))
    assert decision.order == ("source0", "source1")
    assert decision.group == ("source0",)
    (lead,) = decision.leads
    assert lead.difference == pytest.approx(values[0].mean() - values[1].mean())
    assert lead.high - lead.low < 1.2


def _some_pair_apart(scores: dict[str, ResampledScore]) -> bool:
    """Whether the best is ahead of another one by the interval of that pair alone."""
    best, *others = sorted(scores, key=lambda name: -scores[name].estimate)
    return any(decide({best: scores[best], other: scores[other]}).leads[0].clear for other in others)


def test_equal_sources_get_a_false_winner_in_about_five_of_a_hundred() -> None:
    """Six equal sources, 300 data sets; without the allowance for picking the best it happens more often."""
    rng = np.random.default_rng(2)
    false_winners = without_allowance = 0
    for number in range(300):
        scores = mean_scores(rng.normal(size=(6, PATIENTS)) + rng.normal(size=PATIENTS), number)
        false_winners += any(lead.clear for lead in decide(scores).leads)
        without_allowance += _some_pair_apart(scores)
    assert false_winners <= 0.075 * 300
    assert without_allowance > 0.2 * 300


def test_equal_scores_and_a_lone_source() -> None:
    values = np.ones((1, PATIENTS))
    assert decide(mean_scores(values)).group == ("source0",)
    same = decide(mean_scores(np.concatenate([values, values])))
    assert same.too_close
    assert same.group == ("source0", "source1")


def test_scores_of_other_draws_and_no_scores_are_refused() -> None:
    values = np.random.default_rng(3).normal(size=(2, PATIENTS))
    mixed = {"a": mean_scores(values, 0)["source0"], "b": mean_scores(values, 1)["source1"]}
    with pytest.raises(ConfigError, match="different draws"):
        decide(mixed)
    with pytest.raises(ConfigError, match="nothing to compare"):
        decide({})
