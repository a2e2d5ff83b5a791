"""What a study did not do, and what weakens it."""

from __future__ import annotations

from collections.abc import Iterable

from medtl_monai.study.cells import BASELINE, Arm
from medtl_monai.study.names import arm_names
from medtl_monai.study.rows import Row
from medtl_monai.study.scores import Scores

_SHARED = {
    "draw": "the drawn training cases",
    "head": "the initial head",
    "batches": "the order of the batches",
}


def not_run(scores: Scores) -> list[str]:
    """Cells without a row, in words: per arm and n how many, and why they cannot run where that is known."""
    design = scores.design
    found = []
    for arm in scores.arms:
        for n in design.labelled:
            name = f"{arm_names(design)[arm]}, {n} labelled cases"
            found += _not_run_of(scores, arm, n, name)
    if design.converged:
        for n in design.labelled:
            missing = sum(scores.converged_row(n, seed) is None for seed in range(design.converged_seeds))
            if missing:
                found.append(
                    f"scratch with more epochs, {n} labelled cases: {missing} of {design.converged_seeds} seeds"
                )
    else:
        found.append("scratch trained for longer: a head start may be sold as accuracy")
    return found


def _not_run_of(scores: Scores, arm: Arm, n: int, name: str) -> list[str]:
    design, swept = scores.design, scores.sweep(arm, n)
    if swept.complete and swept.rate is None:
        return [f"{name}: all {len(design.rates)} runs of the sweep over learning rates failed, so none was compared"]
    found = []
    if not swept.complete:
        found.append(f"{name}: {len(design.rates) - len(swept.scores)} of {len(design.rates)} learning rates")
    missing = sum(scores.row(arm, n, seed) is None for seed in range(design.seeds))
    if missing:
        found.append(f"{name}: {missing} of {design.seeds} seeds of the comparison")
    return found


def cautions(scores: Scores) -> list[str]:
    """Best learning rates at the edge of the grid, other networks than scratch, and broken pairs."""
    found = [*_edges(scores), *_networks(scores)]
    for name, words in _SHARED.items():
        broken = _broken(scores, name)
        if broken:
            found.append(f"The arms do not share {words}: {'; '.join(broken)}.")
    if scores.design.splits_differ:
        found.append("Every seed has its own split: the intervals speak about new splits of these cases as well.")
    return found


def _edges(scores: Scores) -> list[str]:
    design = scores.design
    found = []
    for arm in scores.arms:
        for n in design.labelled:
            swept = scores.sweep(arm, n)
            if swept.at_edge:
                found.append(f"{arm_names(design)[arm]} at {n} ({swept.rate:g})")
    if not found:
        return []
    return [
        "The best learning rate is at the edge of the grid, so a better one may lie outside it: "
        + ", ".join(found)
        + "."
    ]


def _networks(scores: Scores) -> list[str]:
    """Arms whose network is another one than that of scratch."""
    design = scores.design
    names: dict[Arm, set[str]] = {
        arm: {row.network for n in design.labelled for row in scores.ok_rows(arm, n)} for arm in scores.arms
    }
    scratch = names[BASELINE]
    return [
        f"{arm_names(design)[arm]} is another network ({', '.join(sorted(found))}) than scratch "
        f"({', '.join(sorted(scratch))}): its difference mixes network and weights."
        for arm, found in names.items()
        if scratch and found and found != scratch
    ]


def _broken(scores: Scores, name: str) -> list[str]:
    """n and seeds at which finished runs of one network do not share what a pair has to share."""
    found = []
    design = scores.design
    for n in design.labelled:
        seeds = [seed for seed in range(design.seeds) if _differ(_rows_of_seed(scores, n, seed), name)]
        if seeds:
            found.append(f"{n} labelled cases, seeds {', '.join(map(str, seeds))}")
    return found


def _rows_of_seed(scores: Scores, n: int, seed: int) -> list[Row]:
    rows = [scores.row(arm, n, seed) for arm in scores.arms]
    return [row for row in rows if row is not None and row.ok]


def _differ(rows: Iterable[Row], name: str) -> bool:
    """Another network has another head, and a strategy without steps draws no batches: neither breaks a pair."""
    values: dict[str, set[str]] = {}
    for row in rows:
        value = str(getattr(row, name))
        if value:
            values.setdefault(row.network if name == "head" else "", set()).add(value)
    return any(len(found) > 1 for found in values.values())
