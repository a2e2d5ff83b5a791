"""Predictions of a classifier as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ignite.engine import Engine, Events

from medtl_monai.io.atomic import write_json, write_text
from medtl_monai.workflows.batches import batch_cases
from medtl_monai.workflows.classification_metrics import class_numbers, require_classes


class ClassPredictions:
    """Evaluator handler that writes ``predictions.csv`` and ``predictions.json``: probabilities of every case.

    It expects postprocessed outputs: ``pred`` the probabilities of the classes. Both files are written at the end,
    whole or not at all; they name cases and no folders.

    Args:
        folder: where the two files go.
        class_names: class number -> name.

    Raises:
        ConfigError: the classes are not numbered from 0.
        DataError: in the run, as many probabilities as classes are wanted.
        OutputError: at the end, a file cannot be written.
    """

    def __init__(self, folder: str, class_names: Mapping[str, str]) -> None:
        self.folder, self.class_names = Path(folder), class_numbers(class_names)
        self.rows: dict[str, tuple[float, ...]] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Forget an earlier run, and make the folder before any work is done."""
        self.rows = {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, engine: Engine) -> None:
        """Collect the cases of a batch."""
        for case, output in zip(batch_cases(engine.state.batch), engine.state.output, strict=True):
            probabilities = tuple(float(value) for value in output["pred"])
            require_classes(probabilities, self.class_names, case)
            self.rows[case] = probabilities

    def finish(self, engine: Engine) -> None:
        """Write both files."""
        write_text(self.folder / "predictions.csv", self._csv())
        write_json(self.folder / "predictions.json", {"classes": self.class_names, "predictions": self._predictions()})

    def _predicted(self, probabilities: tuple[float, ...]) -> str:
        return self.class_names[probabilities.index(max(probabilities))]

    def _csv(self) -> str:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "predicted", *(f"probability {name}" for name in self.class_names.values())])
        for case, probabilities in self.rows.items():
            writer.writerow([case, self._predicted(probabilities), *(f"{value:.6f}" for value in probabilities)])
        return stream.getvalue()

    def _predictions(self) -> list[dict[str, object]]:
        return [
            {
                "case": case,
                "predicted": self._predicted(probabilities),
                "probabilities": {
                    name: round(value, 6) for name, value in zip(self.class_names.values(), probabilities, strict=True)
                },
            }
            for case, probabilities in self.rows.items()
        ]
