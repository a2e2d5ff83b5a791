"""What goes to a worker process and what comes back; free of heavy imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One training: the bundle's folder and configuration file, its overrides, and the metric (empty: the key one)."""

    bundle: str
    config: str
    options: Mapping[str, Any]
    seed: int
    metric: str


@dataclass(frozen=True)
class Result:
    """What a finished training gives; the names are those of :class:`medtl_monai.study.rows.Row`."""

    metric: str
    score: float
    train_loss: float
    seconds: float
    trainable: int
    parameters: int
    cases: int
    network: str
    draw: str
    head: str
    batches: str
    case_scores: list[tuple[str, float]]


@dataclass(frozen=True)
class Failure:
    """Why a training did not finish, in one line, and after how many seconds."""

    reason: str
    seconds: float


Outcome = Result | Failure
