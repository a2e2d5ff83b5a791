"""Sensitivity at a fixed specificity: with thresholds fixed in advance, and with ones chosen on the judged cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.statistics.calibration import threshold_at_specificity
from medtl_monai.workflows.calibration import FILE, SPECIFICITIES
from medtl_monai.workflows.classification_intervals import Estimate, proportion_interval

Point = dict[str, float | str | Estimate]


def stored_thresholds(model: Path, positive: int) -> dict[float, float]:
    """Specificity -> threshold of the probability, from the ``calibration.json`` beside a model; {} if there is none.

    Raises:
        WeightsError: that file is of another model, or of another positive class.
    """
    path = model.parent / FILE
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    got = (content["model_sha256"], content["positive"])
    expected = (sha256_of(model), positive)
    if got != expected:
        raise WeightsError(
            "the calibration belongs to another model",
            path=path,
            expected=f"model.pt with SHA-256 {expected[0][:12]}, positive class {expected[1]}",
            got=f"{got[0][:12]}, positive class {got[1]}",
            remedy=f"take the {FILE} that was written with the model.pt, or remove it",
        )
    return {float(name): float(row["threshold"]) for name, row in content["thresholds"].items()}


def operating_points(
    scores: Sequence[float], truth: Sequence[bool], patients: Sequence[str], stored: dict[float, float]
) -> list[Point]:
    """Sensitivity and specificity of thresholds, with 95 % intervals over patients.

    For every specificity first the threshold fixed on the validation cases of the training, where there is one; then
    the threshold that just reaches the specificity on the judged cases themselves, which flatters.

    Args:
        scores: probability of the finding.
        truth: whether each case has it.
        patients: whom each case is of.
        stored: from :func:`stored_thresholds`.
    """
    points = [_point(scores, truth, patients, share, at, "validation cases") for share, at in stored.items()]
    if not all(truth):
        points += [
            _point(scores, truth, patients, share, threshold_at_specificity(scores, truth, share), "these cases")
            for share in SPECIFICITIES
        ]
    return points


def _point(
    scores: Sequence[float], truth: Sequence[bool], patients: Sequence[str], share: float, threshold: float, where: str
) -> Point:
    rows = list(zip(scores, truth, patients, strict=True))
    ill = [(score >= threshold, patient) for score, finding, patient in rows if finding]
    well = [(score < threshold, patient) for score, finding, patient in rows if not finding]
    return {
        "specificity_wanted": share,
        "threshold": threshold,
        "threshold_chosen_on": where,
        "sensitivity": proportion_interval([hit for hit, _ in ill], [patient for _, patient in ill]),
        "specificity": proportion_interval([hit for hit, _ in well], [patient for _, patient in well]),
    }
