"""The fingerprint of a data set: what every case is, and the middle and the edges of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtl_monai.bundle.planning.case_facts import CaseFacts, read_facts
from medtl_monai.bundle.planning.found import FoundCase
from medtl_monai.bundle.planning.inventory import Inventory, Task
from medtl_monai.data.classification_cases import draw_cases
from medtl_monai.data.classification_rules import ClassCase
from medtl_monai.data.datalist import SPLITS, draw_order
from medtl_monai.findings import Finding

FORMAT = "medtl-data-fingerprint/1"
MOST_CASES = 50
_EDGES = (5, 50, 95)


@dataclass(frozen=True)
class Fingerprint:
    """What a plan is made from; nothing else of the data goes into it.

    Attributes:
        task: what the labels are for.
        layout: how the data lie, in words.
        names: name of every label value or class.
        cases, patients: how many there are, read or not.
        class_cases, class_patients: how many there are of each class (classification).
        splits: cases of each split of a datalist that came with the data; empty where the split is still to be made.
        read: the cases that were read.
        findings: what is wrong or worth knowing, from the inventory and from the reading.
    """

    task: Task
    layout: str
    names: dict[int, str]
    cases: int
    patients: int
    class_cases: dict[int, int]
    class_patients: dict[int, int]
    splits: dict[str, int]
    read: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        own = ("task", "layout", "cases", "patients", "splits")
        counts = {key: {str(k): v for k, v in getattr(self, key).items()} for key in ("class_cases", "class_patients")}
        return {
            "format": FORMAT,
            **{key: getattr(self, key) for key in own},
            "names": {str(value): name for value, name in self.names.items()},
            **counts,
            "summary": summary(self.read),
            "read": [case.as_dict() for case in self.read],
            "findings": [asdict(finding) for finding in self.findings],
        }


def take_fingerprint(inventory: Inventory, *, max_cases: int = MOST_CASES, seed: int = 0) -> Fingerprint:
    """Read the cases of an inventory, all or, where there are more than ``max_cases``, so many at random.

    Which cases depends on their names and the seed alone (classification: classes as nearly in proportion as possible,
    each with one case at least); a finding says how many were left out. Cases that cannot be read are error findings.
    """
    chosen = _drawn(inventory, max_cases, seed)
    findings = list(inventory.findings)
    read = []
    for case in chosen:
        facts, remarks = read_facts(inventory.folder, case, tuple(inventory.names))
        findings += [remark for remark in remarks if remark not in findings]
        if facts is not None:
            read.append(facts)
    if len(chosen) < len(inventory.cases):
        message = f"{len(chosen)} of {len(inventory.cases)} cases were read (seed {seed})"
        remedy = "`medtl check` reads all of them"
        findings.append(Finding("fingerprint.sample", "info", message, remedy))
    classes = inventory.task == "classification"
    return Fingerprint(
        task=inventory.task,
        layout=inventory.layout,
        names=dict(inventory.names),
        cases=len(inventory.cases),
        patients=len({case.patient for case in inventory.cases}),
        class_cases=_count(int(case.label) for case in inventory.cases) if classes else {},
        class_patients=_count(label for label, _ in {(int(c.label), c.patient) for c in inventory.cases})
        if classes
        else {},
        splits={} if inventory.given is None else {s: len(inventory.given.splits[s]) for s in SPLITS},
        read=tuple(read),
        findings=tuple(findings),
    )


def _count(labels: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(labels).items()))


def _drawn(inventory: Inventory, max_cases: int, seed: int) -> list[FoundCase]:
    cases = inventory.cases
    if len(cases) <= max_cases:
        return list(cases)
    if inventory.task == "segmentation":
        names = set(draw_order((case.case for case in cases), seed, "fingerprint")[:max_cases])
    else:
        rows = [ClassCase(case.case, case.image, int(case.label), case.patient) for case in cases]
        wanted = max(max_cases, len({row.label for row in rows}))
        names = {row.case for row in draw_cases(rows, wanted, seed)}
    return [case for case in cases if case.case in names]


def summary(cases: Iterable[CaseFacts]) -> dict[str, Any]:
    """Medians and 5th and 95th percentiles over cases, by name; lists have one entry per axis.

    Intensities are the medians over cases of each case's own percentiles; volumes of labels in ml.
    """
    rows = list(cases)
    if not rows:
        return {}
    axes = Counter(len(row.shape) for row in rows).most_common(1)[0][0]
    alike = [row for row in rows if len(row.shape) == axes]
    spacings = [row.spacing for row in alike if row.spacing is not None]
    found: dict[str, Any] = {"shape": edges([row.shape for row in alike])}
    if spacings:
        found["spacing_mm"] = edges(spacings)
    found["percentiles"] = {
        f"{key:g}": float(np.median([row.percentiles[key] for row in rows])) for key in rows[0].percentiles
    }
    inside = [row for row in rows if row.foreground]
    if inside:
        found["foreground"] = {
            f"{key:g}": float(np.median([row.foreground[key] for row in inside])) for key in inside[0].foreground
        }
    values = sorted({value for row in rows for value in row.labels})
    found["label_ml"] = {
        str(value): edges([row.labels[value].ml for row in rows if value in row.labels]) for value in values
    }
    found["label_cases"] = {str(value): sum(value in row.labels for row in rows) for value in values}
    found["dtypes"] = dict(sorted(Counter(row.dtype for row in rows).items()))
    found["modalities"] = dict(sorted(Counter(row.modality for row in rows if row.modality).items()))
    return found


def edges(values: Iterable[Any]) -> dict[str, Any]:
    """5th, 50th and 95th percentile of numbers, or of rows of numbers axis by axis."""
    table = np.asarray(list(values), dtype=np.float64)
    return {f"p{edge}": np.percentile(table, edge, axis=0).tolist() for edge in _EDGES}
