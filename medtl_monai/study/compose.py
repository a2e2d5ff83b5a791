"""The report of a study: what was found first, then everything it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from medtl_monai.report.html import Figure, Section
from medtl_monai.statistics.conclusion import labels_conclusion
from medtl_monai.study import tables
from medtl_monai.study.analysis import Analysis
from medtl_monai.study.comparisons import Comparison, sentences
from medtl_monai.study.design import Design
from medtl_monai.study.names import arm_names
from medtl_monai.study.pictures import metric_words

_VERDICTS = {
    "helps": "transfer helps",
    "hurts": "transfer hurts",
    "better": "transfer does better",
    "worse": "transfer does worse",
    "not shown": "no difference could be shown",
    "not known": "too few pairs for an interval",
}


def summary(found: Analysis, bundle_changes: int = 0) -> list[str]:
    """The sentences at the top: how complete the study is, how its comparisons ended, and what weakens it."""
    design = found.design
    said = []
    if found.finished < found.total:
        said.append(
            f"The study is not complete: {found.finished} of {found.total} runs. Only seeds run in both arms are used."
        )
    if found.failures:
        said.append(f"{len(found.failures)} runs failed; they are listed below.")
    said.append(_count(found, [entry for entry in found.comparisons if not entry.converged], "training from scratch"))
    longer = [entry for entry in found.comparisons if entry.converged]
    if longer:
        said.append(_count(found, longer, f"training from scratch with {design.converged:g} times the epochs"))
    if bundle_changes:
        said.append(f"The bundle's configuration changed {bundle_changes} times while the study ran.")
    return [*said, *found.cautions]


def _count(found: Analysis, entries: Sequence[Comparison], baseline: str) -> str:
    verdicts = Counter(entry.verdict(found.design.better) for entry in entries)
    parts = [f"{words} in {verdicts[name]}" for name, words in _VERDICTS.items() if verdicts[name]]
    return (
        f"{len(entries)} comparisons with {baseline} ({metric_words(found)}, new seeds on these test cases, corrected "
        f"for {sum(entry.interval is not None for entry in entries)} comparisons): {', '.join(parts)}."
    )


def sections(found: Analysis, curves: bytes | None, differences: bytes | None) -> list[Section]:
    """The body of the report."""
    return [
        _result(found, curves, differences),
        Section("Differences to scratch", [_HOW_TO_READ], tables.differences(found, converged=False)),
        *_converged(found),
        Section("Labels saved", _labels(found)),
        Section("Time and cost", [_COST], tables.costs(found)),
        Section("Learning rates", [_RATES], tables.sweeps(found)),
        Section("Every run", ["Test score of every seed; a dash was not run."], tables.every_run(found)),
        Section("Failed runs", [] if found.failures else ["None."], tables.failures(found)),
        Section("What was not run", found.not_run or ["Everything planned was run."]),
    ]


_HOW_TO_READ = (
    "Arm minus scratch over seeds that both finished. A seed is one draw of the labelled cases, one initial head and "
    "one order of the batches, shared by all arms. The first interval speaks about new seeds on these very test "
    "cases; the one for new patients about new seeds and new cases from where these came from. p values are corrected "
    "(Holm) over all comparisons of a table."
)
_COST = "Means over the finished runs of the comparison, judging included, each on one processor core or the device."
_RATES = (
    "Every arm tried the same learning rates at every n, once each, with a seed that the comparison does not use, "
    "judged on the validation split."
)


def _result(found: Analysis, curves: bytes | None, differences: bytes | None) -> Section:
    said = [
        line
        for entry in found.comparisons
        if not entry.converged
        for line in sentences(entry, found.design, metric_words(found))
    ]
    blocks = []
    if curves is not None:
        alt = "Learning curves: mean score of every arm over the number of labelled cases"
        caption = (
            "Mean over seeds and its own 95 % interval. The test is the paired difference below: where intervals of "
            "two curves overlap, the difference may still be shown."
        )
        blocks.append(Figure(curves, alt, caption))
    if differences is not None:
        alt = "Differences between every arm and scratch with their 95 % intervals"
        caption = "Filled: the interval leaves zero out and the difference stands after correction."
        blocks.append(Figure(differences, alt, caption))
    return Section("Result", said, blocks)


def _converged(found: Analysis) -> list[Section]:
    entries = [entry for entry in found.comparisons if entry.converged]
    if not entries:
        return []
    said = [
        f"Scratch with {found.design.converged:g} times the epochs at the learning rate chosen for it: is transfer "
        "better, or only faster?",
        *(line for entry in entries for line in sentences(entry, found.design, metric_words(found))),
    ]
    return [Section("Against scratch trained for longer", said, tables.differences(found, converged=True))]


def _labels(found: Analysis) -> list[str]:
    names = arm_names(found.design)
    said = []
    for saved in found.saved:
        said += [f"{names[saved.arm]}: {labels_conclusion(level)}" for level in saved.levels]
        if saved.reason:
            said.append(f"{names[saved.arm]}: not known: {saved.reason}.")
    return said


def facts(design: Design, prints: Mapping[str, str], changed: Sequence[Mapping[str, str]]) -> dict[str, object]:
    """How the study was made, for the end of the report."""
    settings = ", ".join(f"{name} = {value}" for name, value in design.settings.items())
    return {
        "bundle": design.bundle,
        "data": design.data,
        "datalist": design.datalist or "datalist.json of the data",
        "sources": ", ".join(design.sources),
        "strategies": ", ".join(design.strategies),
        "labelled cases": ", ".join(map(str, design.labelled)),
        "seeds": f"0 to {design.seeds - 1}, 10000 for the sweeps",
        "learning rates": ", ".join(f"{rate:g}" for rate in design.rates),
        "epochs": design.epochs,
        "settings": settings or "those of the bundle",
        "judged": "final weights, no selection, on the test split",
        **{f"SHA-256 of the {name}": value for name, value in prints.items() if not name.startswith("datalist ")},
        **{f"configuration changed {entry['date']}": entry["sha256"] for entry in changed},
    }
