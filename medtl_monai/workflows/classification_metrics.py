"""Evaluation of a classifier: one row per case; AUC, accuracy, sensitivity, specificity, calibration over patients."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.io.atomic import write_json, write_text
from medtl_monai.statistics.calibration import calibration_error
from medtl_monai.workflows.batches import batch_cases
from medtl_monai.workflows.classification_intervals import Estimate, auc_interval, proportion_interval
from medtl_monai.workflows.operating_points import Point, operating_points, stored_thresholds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassScore:
    """What a classifier says about one case.

    Attributes:
        case: name of the case.
        patient: whom it is of.
        truth: number of its class.
        probabilities: of every class, summing to 1.
    """

    case: str
    patient: str
    truth: int
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The class with the highest probability, the first of equal ones."""
        return self.probabilities.index(max(self.probabilities))


def class_numbers(class_names: Mapping[str, str]) -> dict[int, str]:
    """Class names by number, in order, as configurations write them with text keys.

    Raises:
        ConfigError: the numbers are not 0, 1, ... without gaps.
    """
    names = {int(value): name for value, name in class_names.items()}
    if sorted(names) != list(range(len(names))):
        raise ConfigError("classes must be numbered 0, 1, ...", got=list(class_names))
    return dict(sorted(names.items()))


def summarise_classes(scores: Sequence[ClassScore], positive: int = 1) -> dict[str, Estimate]:
    """AUC, accuracy, sensitivity and specificity of a class against the others, with 95 % intervals over patients.

    A case counts as found if `positive` has its highest probability. See `auc_interval` and `proportion_interval`.
    """
    patients = [score.patient for score in scores]
    ill = [score for score in scores if score.truth == positive]
    well = [score for score in scores if score.truth != positive]
    return {
        "auc": auc_interval(
            [score.probabilities[positive] for score in scores], [score.truth == positive for score in scores], patients
        ),
        "accuracy": proportion_interval([score.predicted == score.truth for score in scores], patients),
        "sensitivity": proportion_interval(
            [score.predicted == positive for score in ill], [score.patient for score in ill]
        ),
        "specificity": proportion_interval(
            [score.predicted != positive for score in well], [score.patient for score in well]
        ),
    }


def class_scores_csv(scores: Sequence[ClassScore], class_names: Mapping[int, str]) -> str:
    """CSV text, one row per case: case, patient, true class, predicted class, probability of every class."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["case", "patient", "class", "predicted", *(f"probability {name}" for name in class_names.values())]
    )
    for score in scores:
        numbers = [f"{probability:.6f}" for probability in score.probabilities]
        writer.writerow([score.case, score.patient, class_names[score.truth], class_names[score.predicted], *numbers])
    return stream.getvalue()


def summarise_probabilities(scores: Sequence[ClassScore]) -> dict[str, float]:
    """How true the probabilities are: Brier score (0 to 2), and expected calibration error of the predicted class."""
    table = np.array([score.probabilities for score in scores])
    truth = np.array([score.truth for score in scores])
    return {
        "brier_score": float(((table - np.eye(table.shape[1])[truth]) ** 2).sum(axis=1).mean()),
        "calibration_error": calibration_error(table, truth),
    }


def class_operating_points(
    scores: Sequence[ClassScore], positive: int, stored: dict[float, float] | None = None
) -> list[Point]:
    """:func:`operating_points` of a class against the others."""
    return operating_points(
        [score.probabilities[positive] for score in scores],
        [score.truth == positive for score in scores],
        [score.patient for score in scores],
        stored or {},
    )


class ClassMetrics:
    """Evaluator handler that writes ``metrics.csv`` (one row per case) and ``metrics.json`` (summary).

    It expects postprocessed outputs: ``pred`` the probabilities of the classes; and in the batch ``label``, the number
    of the class, and ``patient``.

    Args:
        folder: where the two files go.
        class_names: class number -> name.
        positive: number of the class that sensitivity is about.
        model: the judged ``model.pt``; thresholds come from the ``calibration.json`` beside it.

    Raises:
        ConfigError: the classes are not numbered from 0, or `positive` is none of them.
        WeightsError: at the start of a run, the calibration is of another model.
        DataError: in the run, as many probabilities as classes are wanted.
    """

    def __init__(self, folder: str, class_names: Mapping[str, str], positive: int = 1, model: str = "") -> None:
        self.model, self.stored = Path(model), dict[float, float]()
        self.folder, self.class_names, self.positive = Path(folder), class_numbers(class_names), positive
        if positive not in self.class_names:
            raise ConfigError("no such class", expected=list(self.class_names), got=positive)
        self.scores: list[ClassScore] = []

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Forget the scores of an earlier run, and make the folder before any work is done."""
        self.scores = []
        self.stored = stored_thresholds(self.model, self.positive)
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, engine: Engine) -> None:
        """Collect the cases of a batch."""
        batch = engine.state.batch
        for case, item, output in zip(batch_cases(batch), batch, engine.state.output, strict=True):
            probabilities = tuple(float(value) for value in output["pred"])
            require_classes(probabilities, self.class_names, case)
            patient = str(item.get("patient", case))
            self.scores.append(ClassScore(case, patient, int(item["label"]), probabilities))

    def finish(self, engine: Engine) -> None:
        """Write both files."""
        write_text(self.folder / "metrics.csv", class_scores_csv(self.scores, self.class_names))
        summary = summarise_classes(self.scores, self.positive)
        content = {
            "positive": self.class_names[self.positive],
            **summary,
            **summarise_probabilities(self.scores),
            "operating_points": class_operating_points(self.scores, self.positive, self.stored),
        }
        write_json(self.folder / "metrics.json", content)
        for name, row in summary.items():
            logger.info("%s: %s", name, _words(row))


def require_classes(probabilities: Sequence[float], class_names: Mapping[int, str], case: str) -> None:
    """Refuse an output that has not one probability per class. Raises DataError."""
    if len(probabilities) != len(class_names) or abs(sum(probabilities) - 1) > 1e-3:
        raise DataError(
            "the network's output is not one probability per class",
            case=case,
            expected=f"{len(class_names)} numbers that sum to 1",
            got=[round(value, 4) for value in probabilities],
        )


def _words(row: Estimate) -> str:
    if row["value"] is None:
        return "undefined"
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else ""
    return f"{row['value']:.3f}{interval} ({row['cases']} cases of {row['patients']} patients)"
