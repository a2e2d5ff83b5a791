"""How the fitting of a head went, and the loss that it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Kept

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class HeadFit:
    """How a head was fitted.

    Attributes:
        method: in words.
        examples: number of cases.
        loss_before: mean over cases of the task's loss with the initial head; NaN where it was not asked.
        loss: the same with the fitted head: what a training that starts there begins with.
        steps: steps of the optimiser.
        converged: whether the rule of convergence was met before the last step allowed.
    """

    method: str
    examples: int
    loss_before: float
    loss: float
    steps: int
    converged: bool

    def __str__(self) -> str:
        end = "converged" if self.converged else "NOT converged"
        return (
            f"{self.method} on {self.examples} cases: loss {self.loss_before:.4f} -> {self.loss:.4f}, "
            f"{self.steps} steps, {end}"
        )


@torch.no_grad()
def mean_loss(network: StagedNetwork, kept: Sequence[Kept], loss: Loss) -> float:
    """Mean over the cases of the task's loss."""
    values = [loss_of(network, one, loss) for one in kept]
    return float(torch.stack(values).mean())


def loss_of(network: StagedNetwork, one: Kept, loss: Loss) -> torch.Tensor:
    """The task's loss of one case, from its features."""
    return loss(network.task_output(one.features, one.example.image), one.example.label)
