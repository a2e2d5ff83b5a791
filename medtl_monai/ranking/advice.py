"""From a decision to a recommendation in words."""

from __future__ import annotations

from collections.abc import Sequence

from medtl_monai.ranking.decision import Decision
from medtl_monai.ranking.result import RankedSource, Recommendation

CRITERION_WORDS = {
    "probe_auc": "the linear probe's area under the ROC curve on patients that it has not seen",
    "probe_accuracy_per_patient": "the linear probe's balanced accuracy of voxels on patients that it has not seen",
}


def recommend(decision: Decision, sources: Sequence[RankedSource], criterion: str) -> Recommendation:
    """What to take, and why.

    A clear winner is taken. Among sources that cannot be told apart, the one that is allowed most and costs least:
    commercial use known to be allowed before unknown and forbidden, then fewer parameters, then shorter features. With
    initial weights among them no source is shown to help, and none is recommended.

    Args:
        decision: by the criterion.
        sources: all of its sources.
        criterion: its name.
    """
    by_name = {source.source: source for source in sources}
    best = by_name[decision.order[0]]
    first = f"{best.source} has the highest value of {CRITERION_WORDS[criterion]}: {best.probe.estimate:.3f}."
    group = [by_name[name] for name in decision.group]
    if any(source.random for source in group):
        return _none_shown(first, group)
    if len(group) > 1:
        return _from_group(first, group)
    return _winner(first, decision, best)


def _winner(first: str, decision: Decision, best: RankedSource) -> Recommendation:
    if not decision.leads:
        return Recommendation(
            best.source, (first, "It is the only source that was scored: nothing to compare it with.")
        )
    lead = min(decision.leads, key=lambda entry: entry.low)
    reason = (
        f"It is ahead of every other one; the closest is {lead.source}, by {lead.difference:.3f} "
        f"(95 % interval {lead.low:.3f} to {lead.high:.3f}, over patients and all comparisons)."
    )
    return Recommendation(best.source, (first, reason, f"Recommended: {best.source}."))


def _from_group(first: str, group: Sequence[RankedSource]) -> Recommendation:
    chosen = min(group, key=_cost)
    names = ", ".join(source.source for source in group)
    reason = (
        f"Recommended: {chosen.source}. Of these it is allowed most and costs least: commercial use "
        f"{chosen.licensing.word} ({chosen.licensing.licence}), {chosen.parameters:,} parameters."
    )
    return Recommendation(
        chosen.source, (first, f"Too close to call: these cannot be told apart on these patients: {names}.", reason)
    )


def _none_shown(first: str, group: Sequence[RankedSource]) -> Recommendation:
    names = ", ".join(source.source for source in group)
    trained = sorted((source for source in group if not source.random), key=_cost)
    after = "Train from initial weights, or label more patients and rank again."
    if trained:
        after = (
            f"If you use one all the same, {trained[0].source} is the one that is allowed most and costs least; "
            "compare it with a training from initial weights."
        )
    reasons: tuple[str, ...] = ("These are initial weights: no source is shown to help.",)
    if len(group) > 1:
        reasons = (
            f"Too close to call: these cannot be told apart on these patients: {names}.",
            "Initial weights are among them: no source is shown to help.",
        )
    return Recommendation(None, (first, *reasons, after))


def _cost(source: RankedSource) -> tuple[int, int, int, str]:
    allowed = {"yes": 0, "unknown": 1, "no": 2}[source.licensing.word]
    return allowed, source.parameters, source.feature_size, source.source
