"""How strongly a linear head on frozen features is penalised: chosen on patients that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medtl_monai.errors import DataError
from medtl_monai.transfer.classical import INNER_FOLDS
from medtl_monai.transfer.scores.probe import grouped_folds

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)  # descending: of equals the strongest is taken
UNCHOSEN = 0.1
Score = Callable[[float, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Penalty:
    """A penalty and where it comes from, in words."""

    value: float
    reason: str

    def __str__(self) -> str:
        return f"penalty {self.value:g} ({self.reason})"


def choose_penalty(labels: Sequence[int], patients: Sequence[str], held_out_loss: Score, seed: int) -> Penalty:
    """The penalty of `PENALTIES` with the lowest mean loss on held-out patients, in three folds where that is possible.

    With more features than cases, as always here, a weak penalty fits the labelled cases perfectly by large weights on
    features that hardly vary, which generalises badly and makes the fine-tuning after it diverge.

    Args:
        labels: ``(N,)`` class numbers.
        patients: ``(N,)``; no patient is on both sides of a fold.
        held_out_loss: called with a penalty, rows to fit on and rows to judge; their mean loss.
        seed: of the folds.

    Returns:
        0.1 where a class has one patient only, so that none can be held out; the reason says so.
    """
    try:
        folds = grouped_folds(np.asarray(labels), np.asarray(patients), INNER_FOLDS, seed)
    except DataError:
        return Penalty(UNCHOSEN, "too few patients to choose it")
    losses = {value: math.fsum(held_out_loss(value, *fold) for fold in folds) / len(folds) for value in PENALTIES}
    return Penalty(min(losses, key=lambda value: losses[value]), f"chosen in {len(folds)} folds of patients")
