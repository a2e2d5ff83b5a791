"""Trainings that take no time: the score follows from the settings; some sources fail, each in its way."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import nn


class ToyNetwork(nn.Linear):
    """Six parameters."""

    def __init__(self) -> None:
        super().__init__(2, 2)


class ToyEvaluator(Engine):
    """Its score is set by the trainer; the key metric keeps one row per case and one column per structure."""

    def __init__(self, split: str) -> None:
        super().__init__(lambda engine, batch: None)
        self.split = split
        self.state.metric_details = {}

    def judge(self, score: float) -> None:
        """Three cases: one at the score, one above, one below by the same, each with two structures."""
        self.run([[{"case": f"{self.split} {number}"}] for number in range(3)])
        self.state.key_metric_name = "val_score"
        self.state.metrics.update({"val_score": score, "val_other": 2.0})
        rows = [[score - 0.1, score + 0.1], [score - 0.02, math.nan], [score + 0.02, score + 0.02]]
        self.state.metric_details = {"val_score": torch.tensor(rows, dtype=torch.float64)}


class ToyTrainer(Engine):
    """Score 0.5 from scratch, 0.6 from a source, more with more cases; a rate off 1e-3 costs 0.1 per decade."""

    def __init__(
        self,
        network: nn.Module,
        source: str,
        labelled: int,
        seed: int,
        rate: float,
        epochs: int,
        pause: float,
        evaluator: ToyEvaluator,
    ) -> None:
        super().__init__(lambda engine, batch: {"loss": math.nan if Path(source).stem == "nan" else 0.25})
        self.network, self.labelled, self.epochs, self.pause = network, labelled, epochs, pause
        self.source, self.evaluator = Path(source).stem, evaluator
        base = 0.5 if source == "scratch" else 0.6 + 0.01 * math.sin(seed)
        self.score = base + 0.02 * math.log2(labelled) - 0.1 * abs(math.log10(rate / 1e-3)) + 0.003 * math.cos(3 * seed)

    def run(self) -> None:
        """Train and judge."""
        if self.source == "broken":
            raise ValueError("the source\nis broken")
        if self.source == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.pause)
        self.add_event_handler(Events.COMPLETED, lambda engine: self.evaluator.judge(self.score))
        super().run([[{"case": str(number)}] for number in range(self.labelled)], max_epochs=self.epochs)
