"""Why data cannot be planned for: everything at once, each with its case and what to do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.errors import DataError, GeometryError, LabelError
from medtl_monai.findings import Finding

MOST_LISTED = 30
PATIENTS = 3  # one for training, one for validation, one for test
MOST_SPACING = 10.0  # largest voxel size over the smallest, along one axis
_AXES = ("right", "anterior", "superior")


def require_plannable(findings: Iterable[Finding]) -> None:
    """Refuse data with error findings.

    Raises:
        LabelError: all are about labels.
        GeometryError: all are about geometry.
        DataError: otherwise. One error in each case; it lists the first `MOST_LISTED` findings with case and remedy.
    """
    errors = list(dict.fromkeys(finding for finding in findings if finding.severity == "error"))
    if not errors:
        return
    lines = [_line(finding) for finding in errors[:MOST_LISTED]]
    if len(errors) > MOST_LISTED:
        lines.append(f"and {len(errors) - MOST_LISTED} more")
    kinds = {finding.code.split(".")[0] for finding in errors}
    single: dict[str, type[DataError]] = {"label": LabelError, "geometry": GeometryError}
    error = single.get(next(iter(kinds)), DataError) if len(kinds) == 1 else DataError
    count = f"{len(errors)} things stand" if len(errors) > 1 else "1 thing stands"
    raise error("\n  ".join([f"{count} against a plan for these data:", *lines]))


def _line(finding: Finding) -> str:
    head = f"case {finding.case}: {finding.message}" if finding.case else finding.message
    return f"{head}; {finding.remedy}" if finding.remedy else head


def data_problems(fingerprint: Fingerprint) -> list[Finding]:
    """Too few patients, labels of one kind only, empty splits, and voxel sizes too far apart."""
    return [*_too_few(fingerprint), *_one_kind(fingerprint), *_empty_splits(fingerprint), *_spacings(fingerprint)]


def _too_few(fingerprint: Fingerprint) -> list[Finding]:
    if fingerprint.splits:
        return []
    if fingerprint.task == "segmentation":
        if fingerprint.patients >= PATIENTS:
            return []
        message = f"too few patients for a split: {fingerprint.patients}, needed are {PATIENTS}"
        remedy = f"label {PATIENTS - fingerprint.patients} more"
        return [Finding("cases.too_few", "error", message, remedy)]
    return [
        Finding(
            "cases.too_few",
            "error",
            f"too few patients of class {label} ({fingerprint.names.get(label, '?')}) for a split: {count}, "
            f"needed are {PATIENTS}",
            f"label {PATIENTS - count} more",
        )
        for label, count in fingerprint.class_patients.items()
        if count < PATIENTS
    ]


def _one_kind(fingerprint: Fingerprint) -> list[Finding]:
    if fingerprint.task == "classification":
        if len(fingerprint.class_cases) >= 2 or not fingerprint.cases:
            return []
        only = ", ".join(fingerprint.names.get(label, str(label)) for label in fingerprint.class_cases)
        message, remedy = f"all {fingerprint.cases} cases are of one class: {only}", "add cases of another class"
        return [Finding("classes.one", "error", message, remedy)]
    if not fingerprint.read or any(case.labels for case in fingerprint.read):
        return []
    message = f"none of the {len(fingerprint.read)} labels read has any foreground"
    return [Finding("label.no_foreground", "error", message, "check that the labels are those of the images")]


def _empty_splits(fingerprint: Fingerprint) -> list[Finding]:
    return [
        Finding("split.empty", "error", f"the datalist has no {split} cases", "split the patients anew")
        for split in ("training", "validation")
        if fingerprint.splits and not fingerprint.splits.get(split)
    ]


def _spacings(fingerprint: Fingerprint) -> list[Finding]:
    rows = [case for case in fingerprint.read if case.spacing is not None and not case.flat]
    if len(rows) < 2:
        return []
    table = np.asarray([case.spacing for case in rows], dtype=np.float64)
    found = []
    for axis in np.flatnonzero(table.max(axis=0) > MOST_SPACING * table.min(axis=0)).tolist():
        middle = float(np.median(table[:, axis]))
        distance = np.abs(np.log(table[:, axis] / middle))
        odd = [row for row, far in zip(rows, distance, strict=True) if far > np.log(MOST_SPACING) / 2]
        for case in odd or [rows[int(distance.argmax())]]:
            size = 0.0 if case.spacing is None else case.spacing[axis]
            message = (
                f"voxel size {size:.4g} mm along {_AXES[axis]}, where the median is {middle:.4g} mm and the sizes "
                f"differ by more than {MOST_SPACING:g} times"
            )
            remedy = "correct the header (metres, missing slices?) or take the case out"
            found.append(Finding("geometry.spacing", "error", message, remedy, case.case))
    return found
