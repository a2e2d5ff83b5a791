"""Which sources cannot be told apart from the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.scores.bootstrap import Interval, ResampledScore

CONFIDENCE = 0.95
SIMULATED = 20_000
NEGLIGIBLE = 1e-12  # variance of a difference that is rounding


@dataclass(frozen=True)
class Lead:
    """How far the best source is ahead of another one, with a 95 % interval that allows for all comparisons."""

    source: str
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Decision:
    """The order of the sources and what is known about it.

    Attributes:
        order: sources, the best first.
        leads: of the best over each of the others, in that order.
        group: the best and every source whose interval holds 0: these cannot be told apart.
        multiple: how many standard errors the intervals reach to each side.
    """

    order: tuple[str, ...]
    leads: tuple[Lead, ...]
    group: tuple[str, ...]
    multiple: float

    @property
    def too_close(self) -> bool:
        """Whether some other source cannot be told apart from the best."""
        return len(self.group) > 1


def decide(scores: Mapping[str, ResampledScore]) -> Decision:
    """Compare the best source with every other one over the same draws of patients.

    The best is picked after looking, and out of several. So the intervals are simultaneous over ALL pairs of sources
    (as Tukey's are, with the sources' own correlations). Where all are equal, one of them is wrongly left out of the
    group in about 5 of 100 data sets; with an interval for each pair alone it would be 40 of 100 for six sources.
    Standard errors are those of the delete-d jackknife.

    Args:
        scores: by source, higher is better; of the same rows, labels, groups, repetitions and seed.

    Raises:
        ConfigError: no source, or scores of different draws.
    """
    if not scores:
        raise ConfigError("nothing to compare", expected="one source or more", got="none")
    if len({score.draws for score in scores.values()}) > 1:
        raise ConfigError(
            "the scores are of different draws of patients",
            expected="one fingerprint",
            got={name: score.draws[:8] for name, score in scores.items()},
            remedy="score all sources with the same rows, labels, groups, repetitions and seed",
        )
    order = sorted(scores, key=lambda name: (-scores[name].estimate, name))
    if len(order) == 1:
        return Decision((order[0],), (), (order[0],), 0.0)
    multiple = _multiple(scores)
    best = scores[order[0]]
    leads = []
    for name in order[1:]:
        difference = best.estimate - scores[name].estimate
        reach = multiple * _error(best.values - scores[name].values, best)
        leads.append(Lead(name, difference, difference - reach, difference + reach))
    return Decision(
        tuple(order), tuple(leads), (order[0], *(lead.source for lead in leads if not lead.clear)), multiple
    )


def interval_of(score: ResampledScore) -> Interval:
    """A score between 0 and 1 with its own 95 % interval over patients, cut off at 0 and 1."""
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, score.patients - 1)) * _error(score.values, score)
    return Interval(score.estimate, max(score.estimate - reach, 0.0), min(score.estimate + reach, 1.0))


def _error(differences: np.ndarray, score: ResampledScore) -> float:
    """Standard error of a difference: draws without replacement share patients and vary less than new patients do."""
    return float(np.std(differences, ddof=1)) * float(np.sqrt(score.kept / (score.patients - score.kept)))


def _multiple(scores: Mapping[str, ResampledScore]) -> float:
    """Standard errors within which all pairs of equal sources stay together, in 95 of 100 data sets.

    The 95 % point of the largest of all pairs' t statistics, by simulation: normal scores with the covariance that the
    draws show, over standard errors with the uncertainty of so many patients (a multivariate t distribution).
    """
    values = np.stack([score.values for score in scores.values()])
    freedom = next(iter(scores.values())).patients - 1
    covariance = np.atleast_2d(np.cov(values))
    rng = np.random.default_rng(0)
    lengths, vectors = np.linalg.eigh(covariance)
    simulated = rng.normal(size=(SIMULATED, len(values))) @ (vectors * np.sqrt(np.clip(lengths, 0.0, None))).T
    errors = np.sqrt(rng.chisquare(freedom, SIMULATED) / freedom)
    largest = np.zeros(SIMULATED)
    for one, other in combinations(range(len(values)), 2):
        spread = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
        if spread > NEGLIGIBLE:
            statistic = np.abs(simulated[:, one] - simulated[:, other]) / np.sqrt(spread)
            largest = np.maximum(largest, statistic / errors)
    one_comparison = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))
    return max(float(np.quantile(largest, CONFIDENCE)), one_comparison)
