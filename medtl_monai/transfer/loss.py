"""The task's loss plus what the strategy adds to it."""

from __future__ import annotations

import torch
from torch import nn

from medtl_monai.transfer.strategy import build_strategy, staged


class TransferLoss(nn.Module):
    """``loss(pred, target)`` plus the penalty of a strategy; without a penalty exactly the loss.

    Make it after the source has been loaded (:class:`medtl_monai.transfer.regularize.L2SP` remembers the weights) and
    after the network is on its device.

    Args:
        loss: the task's loss, called with prediction and target.
        network: the network in training, or its DistributedDataParallel wrapper.
        strategy: a name that :func:`medtl_monai.transfer.strategy.build_strategy` knows.

    Attributes:
        last_parts: ``loss`` and, where there is one, ``penalty`` of the last call, detached scalars.

    Raises:
        ConfigError: an unknown strategy, or one that does not fit the network.
    """

    def __init__(self, loss: nn.Module, network: nn.Module, strategy: str) -> None:
        super().__init__()
        self.loss = loss
        self.penalty = build_strategy(strategy).penalty(staged(network))
        self.last_parts: dict[str, torch.Tensor] = {}

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a prediction, of the shape that ``loss`` gives it, with the penalty added."""
        loss = self.loss(pred, target)
        self.last_parts = {"loss": loss.detach().mean()}
        if self.penalty is None:
            return loss
        penalty = self.penalty()
        self.last_parts["penalty"] = penalty.detach()
        return loss + penalty
