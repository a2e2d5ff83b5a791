"""Training curves as a CSV file, one row per epoch."""

from __future__ import annotations

import csv
import io
import logging
import time
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from medtl_monai.io.atomic import write_text
from medtl_monai.workflows.ranks import is_main_process

logger = logging.getLogger(__name__)


class CurveWriter:
    """Write ``curves.csv``: epoch, learning rate, mean training loss, validation metrics, seconds.

    Epoch 0 is the state before training. The file is written anew, atomically, after each epoch; a resumed training
    keeps the rows up to the epoch it continues from. One log line per epoch shows the progress.

    Args:
        path: the CSV file.
        optimizer: for the learning rate.
        validator: evaluator whose metrics are recorded in the epochs in which it ran.
    """

    def __init__(self, path: str, optimizer: torch.optim.Optimizer, validator: Engine) -> None:
        self.path = Path(path)
        self.optimizer, self.validator = optimizer, validator
        self.rows: list[dict[str, str]] = []
        self._losses: list[float] = []
        self._clock = time.perf_counter()

    def attach(self, engine: Engine) -> None:
        """Register with a training engine, in the process that writes; the validating handler is attached before."""
        if not is_main_process():
            return
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Take over earlier rows when resuming, else write the row of epoch 0."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if engine.state.epoch > 0:
            self.rows = [row for row in read_curves(self.path) if int(row["epoch"]) <= engine.state.epoch]
        else:
            self(engine)

    def collect(self, engine: Engine) -> None:
        """Remember the loss of an iteration."""
        output = engine.state.output
        items = output if isinstance(output, list) else [output]
        self._losses.append(sum(float(item["loss"]) for item in items) / len(items))

    def __call__(self, engine: Engine) -> None:
        """Add the row of the epoch that ended and write the file."""
        now = time.perf_counter()
        row = {
            "epoch": str(engine.state.epoch),
            "learning_rate": f"{_base_rate(self.optimizer):.3g}",
            "train_loss": f"{sum(self._losses) / len(self._losses):.5f}" if self._losses else "",
            "seconds": f"{now - self._clock:.2f}",
        }
        if getattr(engine.state, "validated_epoch", None) == engine.state.epoch:
            for name, value in self.validator.state.metrics.items():
                row[name] = f"{float(value):.5f}"
        self._clock, self._losses = now, []
        self.rows.append(row)
        write_text(self.path, _as_csv(self.rows))
        logger.info("epoch %s of %s: %s", row["epoch"], engine.state.max_epochs, _as_words(row))


def read_curves(path: str | Path) -> list[dict[str, str]]:
    """Rows of a ``curves.csv``; an empty list if there is no such file."""
    if not Path(path).is_file():
        return []
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def _base_rate(optimizer: torch.optim.Optimizer) -> float:
    """Learning rate of a layer whose scale is 1."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) / float(group.get("lr_scale", 1.0))


def _as_csv(rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _as_words(row: dict[str, str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items() if value and name != "epoch")
