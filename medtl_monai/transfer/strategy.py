"""Transfer strategies: which stages are frozen and how the rest is optimised, under one name each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.lookup import look_up
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.param_groups import parameter_groups


@dataclass(frozen=True)
class TransferStrategy:
    """How a network is trained from a source.

    Attributes:
        name: the word on the command line.
        trainable: stages that train: ``"all"``, or ``"task"`` for those that the task brings along: the head, and the
            decoder around a pretrained encoder.
        summary: one sentence for reports.
    """

    name: str
    trainable: Literal["all", "task"]
    summary: str

    def frozen_stages(self, network: StagedNetwork) -> tuple[str, ...]:
        """Names of the stages that this strategy freezes in ``network``."""
        task = network.task_stages
        return () if self.trainable == "all" else tuple(stage for stage in network.stages if stage not in task)

    def prepare(self, network: StagedNetwork) -> None:
        """Freeze what the strategy freezes (no gradient, norm statistics still, dropout off) and free the rest."""
        network.freeze(self.frozen_stages(network))

    def optimizer(self, network: StagedNetwork, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over the trainable parameters alone.

        The network has to hold the source's weights already: learning rates follow their size, see
        :func:`medtl_monai.transfer.param_groups.parameter_groups`.
        """
        self.prepare(network)
        return torch.optim.AdamW(parameter_groups(network, lr=lr, weight_decay=weight_decay), lr=lr)


STRATEGIES: dict[str, TransferStrategy] = {
    strategy.name: strategy
    for strategy in (
        TransferStrategy("fine_tune", "all", "every stage trains, starting from the source"),
        TransferStrategy(
            "linear_probe", "task", "only the new head (and decoder) trains on the source's frozen features"
        ),
    )
}


def build_strategy(name: str) -> TransferStrategy:
    """The strategy of a name. Raises ConfigError, with the nearest name, if there is none."""
    return look_up(STRATEGIES, name, "transfer strategy")


def build_optimizer(
    network: nn.Module, *, strategy: str, lr: float, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """Apply a strategy to a network and return its optimiser; the factory that bundle configurations call.

    Args:
        network: the network, or its DistributedDataParallel wrapper.
        strategy: a key of :data:`STRATEGIES`.
        lr: learning rate.
        weight_decay: AdamW weight decay of convolution and linear weights.

    Raises:
        ConfigError: an unknown strategy, or a network without stages.
    """
    bare = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    if not isinstance(bare, StagedNetwork):
        raise ConfigError("a strategy needs a network with stages", got=type(bare).__name__)
    return build_strategy(strategy).optimizer(bare, lr=lr, weight_decay=weight_decay)
