"""Per-case segmentation scores on the scan's own grid, and their summary with confidence intervals."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_hausdorff_distance
from scipy import stats

from medtl_monai.io.atomic import write_text
from medtl_monai.io.geometry import spacing_of
from medtl_monai.workflows.batches import batch_cases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseScore:
    """Scores of one structure in one case.

    Attributes:
        case: name of the case.
        structure: name of the label.
        dice: 2 |A and B| / (|A| + |B|); NaN when both are empty.
        hd95_mm: 95th percentile Hausdorff distance in mm; NaN when either is empty.
        volume_ml, true_volume_ml: volumes of prediction and truth in ml.
    """

    case: str
    structure: str
    dice: float
    hd95_mm: float
    volume_ml: float
    true_volume_ml: float


def score_case(
    case: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    label_names: Mapping[int, str],
) -> list[CaseScore]:
    """Score every foreground label of one case.

    Args:
        case: name of the case.
        prediction, truth: integer label maps ``(H, W, D)`` on the same grid.
        spacing: voxel size in mm.
        label_names: label value -> name; value 0 (background) is left out.
    """
    voxel_ml = float(np.prod(np.asarray(spacing, dtype=float))) / 1000.0
    scores = []
    for value, name in sorted((int(value), name) for value, name in label_names.items() if int(value) != 0):
        found, true = prediction == value, truth == value
        total = int(found.sum()) + int(true.sum())
        dice = 2.0 * int((found & true).sum()) / total if total else math.nan
        distance = _hd95(found, true, spacing) if found.any() and true.any() else math.nan
        scores.append(
            CaseScore(case, name, dice, distance, float(found.sum()) * voxel_ml, float(true.sum()) * voxel_ml)
        )
    return scores


def _hd95(found: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> float:
    first, second = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (found, true))
    distance = compute_hausdorff_distance(
        first, second, include_background=True, percentile=95, spacing=[float(length) for length in spacing]
    )
    return float(distance)


def mean_interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean and 95 % t-interval over cases, NaN left out and counted; one case has no interval."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if finite.size == 0:
        return {"mean": None, "low": None, "high": None, "cases": 0, "undefined": len(values)}
    mean = float(finite.mean())
    half = None
    if finite.size > 1:
        half = float(stats.t.ppf(0.975, finite.size - 1) * finite.std(ddof=1) / math.sqrt(finite.size))
    return {
        "mean": round(mean, 5),
        "low": None if half is None else round(mean - half, 5),
        "high": None if half is None else round(mean + half, 5),
        "cases": int(finite.size),
        "undefined": len(values) - int(finite.size),
    }


def summarise(scores: Sequence[CaseScore]) -> dict[str, dict]:
    """Mean and interval of Dice and HD95 per structure, and of the mean Dice of a case over its structures."""
    structures = list(dict.fromkeys(score.structure for score in scores))
    summary = {
        name: {
            "dice": mean_interval([score.dice for score in scores if score.structure == name]),
            "hd95_mm": mean_interval([score.hd95_mm for score in scores if score.structure == name]),
        }
        for name in structures
    }
    summary["mean"] = {"dice": mean_interval(list(case_means(scores).values()))}
    return summary


def case_means(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Mean Dice over the structures of each case; structures absent from prediction and truth do not count."""
    by_case: dict[str, list[float]] = {}
    for score in scores:
        by_case.setdefault(score.case, []).append(score.dice)
    return {
        case: float(np.nanmean(values)) if np.isfinite(values).any() else math.nan for case, values in by_case.items()
    }


def scores_csv(scores: Sequence[CaseScore]) -> str:
    """The scores as CSV text, one row per case and structure."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(CaseScore.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for score in scores:
        writer.writerow({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in asdict(score).items()})
    return stream.getvalue()


class CaseMetrics:
    """Evaluator handler that writes ``metrics.csv`` (per case and structure) and ``metrics.json`` (summary).

    It expects postprocessed outputs: ``pred`` and ``label`` one-hot ``(C, H, W, D)`` on the scan's own grid.

    Args:
        folder: where the two files go.
        label_names: name of every label value.
    """

    def __init__(self, folder: str, label_names: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        self.label_names = {int(value): name for value, name in label_names.items()}
        self.scores: list[CaseScore] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Forget the scores of an earlier run."""
        self.scores = []

    def __call__(self, engine: Engine) -> None:
        """Score the cases of a batch."""
        for case, item in zip(batch_cases(engine.state.batch), engine.state.output, strict=True):
            prediction, truth = (item[key].argmax(dim=0).cpu().numpy() for key in ("pred", "label"))
            spacing = spacing_of(np.asarray(item["label"].affine, dtype=float)).tolist()
            self.scores.extend(score_case(case, prediction, truth, spacing, self.label_names))

    def finish(self, engine: Engine) -> None:
        """Write both files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "metrics.csv", scores_csv(self.scores))
        summary = summarise(self.scores)
        write_text(self.folder / "metrics.json", json.dumps(summary, indent=1) + "\n")
        for name, values in summary.items():
            logger.info("%s: %s", name, ", ".join(f"{metric} {_words(row)}" for metric, row in values.items()))


def _words(row: Mapping[str, float | int | None]) -> str:
    """Mean, interval and number of cases of one metric, for the log."""
    if row["mean"] is None:
        return "undefined in every case"
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else ""
    return f"{row['mean']:.3f}{interval} ({row['cases']} cases)"
