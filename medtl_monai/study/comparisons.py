"""Every arm against scratch at every n; the comparisons with longer trained scratch are a family of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medtl_monai.errors import DataError
from medtl_monai.statistics.conclusion import conclusion
from medtl_monai.statistics.hierarchical import hierarchical_interval
from medtl_monai.statistics.holm import holm
from medtl_monai.statistics.paired import Interval, paired_difference
from medtl_monai.study.cells import BASELINE, Arm
from medtl_monai.study.design import Design
from medtl_monai.study.names import arm_words
from medtl_monai.study.scores import PairTable, Scores

LEVEL = 0.95


VERDICTS = {False: ("helps", "hurts"), True: ("better", "worse")}
_VERBS = {False: ("helps", "hurts"), True: ("does better", "does worse")}


@dataclass(frozen=True)
class Comparison:
    """An arm minus scratch at one n.

    Attributes:
        arm: the arm.
        labelled: n.
        converged: whether scratch had more epochs than the arm.
        pairs: seeds of which both runs finished.
        planned: seeds of the study for this comparison.
        mean_arm, mean_baseline: means over the pairs, NaN without any.
        interval: for new seeds on these test cases; None if there is no interval.
        p_holm: its p value, corrected for its family.
        patients: interval for new seeds and new cases; None where the runs do not share scores of cases.
        patients_p_holm: its p value, corrected for its family.
        dropped_cases: cases that ``patients`` leaves out because a run has no score for them.
        reason: why there is no interval.
    """

    arm: Arm
    labelled: int
    converged: bool
    pairs: int
    planned: int
    mean_arm: float
    mean_baseline: float
    interval: Interval | None
    p_holm: float | None = None
    patients: Interval | None = None
    patients_p_holm: float | None = None
    dropped_cases: int = 0
    reason: str = ""

    def verdict(self, better: str) -> str:
        """``helps``, ``hurts``, ``not shown`` or ``not known``: for new seeds, corrected for the family.

        ``better`` or ``worse`` instead where the other side was trained for longer: budgets differ, so it is no harm.
        """
        if self.interval is None or self.p_holm is None:
            return "not known"
        if not _shown(self.interval, self.p_holm):
            return "not shown"
        gains = (self.interval.difference > 0) == (better == "higher")
        return VERDICTS[self.converged][0 if gains else 1]


def compare_all(scores: Scores) -> list[Comparison]:
    """All comparisons with scratch, then all with scratch trained for longer.

    Holm's correction is over all arms and levels within each of the two families: few seeds of long trainings shall not
    make the main question harder to answer.
    """
    design = scores.design
    others = [arm for arm in scores.arms if arm != BASELINE]
    families = [False, True] if design.converged and design.converged_seeds else [False]
    found: list[Comparison] = []
    for converged in families:
        family = [_compare(scores, arm, n, converged) for arm in others for n in design.labelled]
        family = _corrected(family, lambda entry: entry.interval, "p_holm")
        found += _corrected(family, lambda entry: entry.patients, "patients_p_holm")
    return found


def _compare(scores: Scores, arm: Arm, labelled: int, converged: bool) -> Comparison:
    design = scores.design
    table = scores.pairs(arm, labelled, converged=converged)
    complete = ~(np.isnan(table.arm) | np.isnan(table.baseline))[:, 0]
    interval, reason = _interval(table)
    return Comparison(
        arm=arm,
        labelled=labelled,
        converged=converged,
        pairs=int(complete.sum()),
        planned=min(design.converged_seeds, design.seeds) if converged else design.seeds,
        mean_arm=_mean(table.arm[complete]),
        mean_baseline=_mean(table.baseline[complete]),
        interval=interval,
        patients=_patients(table),
        dropped_cases=table.dropped,
        reason=reason,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _interval(table: PairTable) -> tuple[Interval | None, str]:
    if len(table.seeds) < 2:
        return None, f"{len(table.seeds)} seeds were run in both arms, 2 are needed"
    try:
        interval = paired_difference(table.arm, table.baseline, LEVEL)
    except DataError as error:
        return None, str(error)
    return dataclasses.replace(interval, cases=table.cases), ""  # the column is a mean over so many


def _patients(table: PairTable) -> Interval | None:
    if table.arm_cases is None or table.baseline_cases is None:
        return None
    try:
        return hierarchical_interval(table.arm_cases, table.baseline_cases, LEVEL)
    except DataError:  # said once already, as the reason of the interval over the seeds
        return None


def _corrected(
    found: Sequence[Comparison], interval_of: Callable[[Comparison], Interval | None], name: str
) -> list[Comparison]:
    values: ArrayLike = [interval.p for entry in found if (interval := interval_of(entry)) is not None]
    adjusted = iter(holm(values))
    result = []
    for entry in found:
        if interval_of(entry) is None:
            result.append(entry)
        elif name == "p_holm":
            result.append(dataclasses.replace(entry, p_holm=next(adjusted)))
        else:
            result.append(dataclasses.replace(entry, patients_p_holm=next(adjusted)))
    return result


def sentences(entry: Comparison, design: Design, metric: str) -> list[str]:
    """What a comparison shows, as far as it reaches: for new patients too, or for new seeds on these patients only.

    Both are said where one shows a difference and the other does not. A number of pairs below the plan is named.
    """
    name = arm_words(design, entry.arm)
    baseline = "training from scratch"
    if entry.converged:
        baseline += f" with {design.converged:g} times the epochs"
    start = f"{entry.labelled} labelled cases"
    if entry.interval is None:
        return [f"{start}: nothing can be said about {name} and {baseline}: {entry.reason}."]
    if entry.pairs < entry.planned:
        start += f", {entry.pairs} of {entry.planned} seeds so far"

    def say(interval: Interval, adjusted: float | None) -> str:
        text = conclusion(
            interval,
            arm=name,
            baseline=baseline,
            metric=metric,
            better=design.better,
            adjusted_p=adjusted,
            verbs=_VERBS[entry.converged],
        )
        return f"{start}: {text}{_only_uncorrected(interval, adjusted)}"

    seeds = [say(entry.interval, entry.p_holm)]
    if entry.patients is None or not _shown(entry.interval, entry.p_holm):
        return seeds
    patients = [say(entry.patients, entry.patients_p_holm)]
    return patients if _shown(entry.patients, entry.patients_p_holm) else [*seeds, *patients]


def _shown(interval: Interval, adjusted: float | None) -> bool:
    excludes_zero = interval.low > 0 or interval.high < 0
    return excludes_zero and adjusted is not None and adjusted <= 1 - interval.level


def _only_uncorrected(interval: Interval, adjusted: float | None) -> str:
    """The interval and the differences it could have shown know nothing of the correction; here that matters."""
    excludes_zero = interval.low > 0 or interval.high < 0
    if not excludes_zero or adjusted is None or adjusted <= 1 - interval.level:
        return ""
    return (
        " The interval alone leaves zero out, but among so many comparisons that may be chance: the interval and the "
        "numbers of power are those of a single comparison."
    )
