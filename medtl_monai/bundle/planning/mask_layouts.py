"""Layouts of segmentation data: two folders whose files have equal names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from medtl_monai.bundle.planning.found import Found, FoundCase, reason_of
from medtl_monai.data.checks import read_scan
from medtl_monai.data.pairs import match_files
from medtl_monai.errors import DataError
from medtl_monai.findings import Finding

LAYOUTS = (("images", "labels"), ("imagesTr", "labelsTr"))
_NAMES_FILE = "dataset.json"  # of the Medical Segmentation Decathlon and of nnU-Net


def paired_folders(root: Path, folders: tuple[str, str], names: Mapping[int, str] | None) -> Found | str:
    """Pairs of equal names in two folders, or why there are none.

    Images without label and labels without image are error findings, all of them. Without ``names``, those in
    ``dataset.json`` count; else every label file is read and the values are named ``background`` and ``label_<value>``.
    """
    try:
        pairs, unlabelled, unused = match_files(root / folders[0], root / folders[1])
    except DataError as error:
        return reason_of(error.problem, error.expected, error.got)
    if not (pairs or unlabelled or unused):
        return "both folders are empty"
    findings = [*_single(unlabelled, folders, "image", "label"), *_single(unused, folders[::-1], "label", "image")]
    known = dict(names) if names is not None else _published_names(root)
    if known is None:
        values, unreadable = _values(pairs)
        findings += unreadable
        known = {value: f"label_{value}" if value else "background" for value in sorted(values | {0})}
    cases = tuple(
        FoundCase(name, f"{folders[0]}/{image.name}", f"{folders[1]}/{label.name}", name)
        for name, (image, label) in pairs.items()
    )
    return Found(f"{folders[0]}/ with {folders[1]}/", cases, known, tuple(findings), folders)


def _single(cases: Iterable[str], folders: tuple[str, str], there: str, missing: str) -> list[Finding]:
    remedy = f"add it to {folders[1]}/ under the same name, or move the {there} away"
    return [Finding(f"{missing}.missing", "error", f"{there} without {missing}", remedy, case) for case in cases]


def _values(pairs: Mapping[str, tuple[Path, Path]]) -> tuple[set[int], list[Finding]]:
    """All values in the label files, and an error finding for each file that cannot be read."""
    values: set[int] = set()
    findings: list[Finding] = []
    for case, (_, label) in pairs.items():
        volume, remarks = read_scan({"case": case, "label": str(label)}, "label")
        findings += [finding for finding in remarks if finding.severity == "error"]
        if volume is not None:
            values |= {int(value) for value in np.unique(volume.array)}
    return values, findings


def _published_names(root: Path) -> dict[int, str] | None:
    """Label names in ``dataset.json``: ``{"0": "background"}`` or ``{"background": 0}``; None where it has none."""
    try:
        labels = json.loads((root / _NAMES_FILE).read_text(encoding="utf-8"))["labels"]
        pairs = [
            (int(key), str(value)) if str(key).isdigit() else (int(value), str(key)) for key, value in labels.items()
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # no file, or one with another meaning: the values are read from the labels themselves
    return dict(sorted(pairs)) if pairs and len(dict(pairs)) == len(pairs) else None
