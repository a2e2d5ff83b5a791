"""Results in plain words that claim no more than their interval."""

from __future__ import annotations

import math
from typing import Literal

from medtl_monai.errors import ConfigError
from medtl_monai.statistics.labels_saved import LabelsSaved
from medtl_monai.statistics.paired import Interval
from medtl_monai.statistics.power import seeds_needed, smallest_effect

Better = Literal["higher", "lower"]
_FEW_SEEDS = 5


def conclusion(
    interval: Interval,
    *,
    arm: str = "transfer",
    baseline: str = "training from scratch",
    metric: str = "score",
    better: Better = "higher",
    relevant: float | None = None,
    adjusted_p: float | None = None,
    power: float = 0.8,
    verbs: tuple[str, str] = ("helps", "hurts"),
) -> str:
    """What a difference between two arms shows, and for whom; without a difference, what could have been seen.

    One of the verbs is said only if the interval leaves zero out and, where one is given, the adjusted p value is
    at most ``1 - level`` as well.

    Args:
        interval: of ``arm - baseline``.
        arm, baseline: names for the sentence.
        metric: name of the score.
        better: whether a higher or a lower score is better.
        relevant: smallest difference that would matter in practice, positive, in units of the score.
        adjusted_p: p value after correction for all comparisons of the family (`holm`).
        power: for the smallest effect and the number of seeds.
        verbs: what the arm does if it is the better one, and if it is the worse one.

    Raises:
        ConfigError: ``better`` is unknown, ``relevant`` is not positive, the adjusted p value is not between the
            interval's own and 1, or the power is not between ``1 - level`` and 1.
    """
    _check(interval, better, relevant, adjusted_p)
    shown = _is_shown(interval, adjusted_p)
    gains = (interval.difference > 0) == (better == "higher")
    if shown:
        first = f"{_capital(arm)} {verbs[0] if gains else verbs[1]} compared with {baseline}, {_scope(interval)}"
    else:
        first = f"No difference between {arm} and {baseline} could be shown, {_scope(interval)}"
    parts = [f"{first}: {_numbers(interval, metric, adjusted_p)}."]
    if not shown:
        parts.append(_what_could_be_seen(interval, relevant, power, corrected=adjusted_p is not None))
    parts += [_relevance(interval, relevant, shown), _missing(interval, arm, baseline), _few(interval)]
    return " ".join(part for part in parts if part)


def labels_conclusion(row: LabelsSaved) -> str:
    """How many labelled cases transfer saves, in one sentence; "no saving" unless the interval lies above n."""
    n, percent = _count(row.n), f"{row.level * 100:g} % interval"
    span = f"{percent} {_bound(row, row.low)} to {_bound(row, row.high)}"
    if row.low == row.high:
        span = f"{percent}: {_bound(row, row.low)}"
    matched = f"{n} labelled cases with transfer do as well as {_bound(row, row.equivalent)} from scratch ({span})"
    if row.low > row.n:
        return f"{matched}."
    if row.high < row.n:
        return f"None saved, transfer costs labels: {matched}."
    return f"No saving of labels could be shown: {matched}."


def _is_shown(interval: Interval, adjusted_p: float | None) -> bool:
    excludes_zero = interval.low > 0 or interval.high < 0
    return excludes_zero and (adjusted_p is None or adjusted_p <= 1 - interval.level)


def _scope(interval: Interval) -> str:
    if interval.population == "new_seeds":
        return f"for new draws of the labelled cases, on these {interval.cases} test cases"
    return f"for new draws of the labelled cases and new patients like these {interval.cases}"


def _numbers(interval: Interval, metric: str, adjusted_p: float | None) -> str:
    text = (
        f"{metric} {interval.difference:+.3g} ({interval.level * 100:g} % interval {interval.low:+.3g} to "
        f"{interval.high:+.3g}, {_p(interval.p)}"
    )
    if adjusted_p is not None:
        text += f", {_p(adjusted_p)} after correction for several comparisons"
    return f"{text}, {interval.seeds} seeds)"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3g}"


def _what_could_be_seen(interval: Interval, relevant: float | None, power: float, *, corrected: bool) -> str:
    seen = smallest_effect(interval.standard_error, interval.degrees_of_freedom, power, interval.level)
    text = (
        f"This does not show that there is none: with this spread only a difference of {seen:.2g} or more would have "
        f"been found with {power * 100:g} % power{', and only a larger one after the correction' if corrected else ''}."
    )
    effect = relevant if relevant is not None else abs(interval.difference)
    if effect == 0:
        return text
    seeds = seeds_needed(interval.sd, effect, power, level=interval.level, case_error=interval.case_error)
    name = "the relevant" if relevant is not None else "a true"
    if seeds is None:
        return f"{text} For {name} difference of {effect:.2g} more seeds are not enough: more test cases are needed."
    return (
        f"{text} For {name} difference of {effect:.2g} about {seeds} seeds are needed, roughly, as the spread is known "
        f"from {interval.seeds} seeds only."
    )


def _relevance(interval: Interval, relevant: float | None, shown: bool) -> str:
    if relevant is None:
        return ""
    if max(abs(interval.low), abs(interval.high)) < relevant:
        return f"Any difference is smaller than the relevant {relevant:.3g}."
    if not shown:
        return ""
    if min(abs(interval.low), abs(interval.high)) >= relevant:
        return f"The difference reaches the relevant {relevant:.3g}."
    return f"Whether it reaches the relevant {relevant:.3g} remains open."


def _missing(interval: Interval, arm: str, baseline: str) -> str:
    if not interval.left_out:
        return ""
    return (
        f"Left out: {interval.left_out} of {len(interval.by_seed)} seeds with failed runs ({arm}: "
        f"{interval.failed_arm}, {baseline}: {interval.failed_baseline}); this holds only for runs that finish."
    )


def _few(interval: Interval) -> str:
    if interval.seeds >= _FEW_SEEDS:
        return ""
    return f"Only {interval.seeds} seeds: one collapsed run could change this."


def _bound(row: LabelsSaved, value: float) -> str:
    if value == 0:
        return f"fewer than {_count(row.smallest)}"
    if math.isinf(value):
        return f"more than {_count(row.largest)}"
    return _count(value)


def _count(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or value >= 20 else f"{value:.1f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _check(interval: Interval, better: str, relevant: float | None, adjusted_p: float | None) -> None:
    if better not in ("higher", "lower"):
        raise ConfigError("unknown direction of the score", expected="'higher' or 'lower'", got=better)
    if relevant is not None and not 0 < relevant < math.inf:
        raise ConfigError("the relevant difference makes no sense", expected="a positive number", got=relevant)
    if adjusted_p is not None and not interval.p * (1 - 1e-9) <= adjusted_p <= 1:
        raise ConfigError(
            "the adjusted p value does not belong to this interval",
            expected=f"a number between the interval's own {interval.p:.3g} and 1",
            got=adjusted_p,
        )
