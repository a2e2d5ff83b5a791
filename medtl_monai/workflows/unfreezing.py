"""Gradual unfreezing during a training, and after a resume."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.switch import switch
from medtl_monai.transfer.gradual import add_groups, require_growing_schedule
from medtl_monai.transfer.strategy import build_strategy, staged
from medtl_monai.workflows.checkpoint_files import LAST, read_checkpoint

logger = logging.getLogger(__name__)


class GradualUnfreezing:
    """Free further stages at the start of an epoch, as the strategy says; nothing with a strategy that never does.

    A stage that is freed gets new parameter groups in the living optimiser and its schedule; the state of the others
    stays. Attach it before :class:`medtl_monai.workflows.checkpoint.ResumeTraining`, with the same ``folder`` and
    ``resume``: the optimiser gets the groups that the checkpoint has, in their order, before its state is restored.

    Args:
        network: the network, filled from its source.
        optimizer: from :func:`medtl_monai.transfer.strategy.build_optimizer`, with the same strategy, ``lr`` and
            ``weight_decay``.
        lr_scheduler: its schedule, stepped at the end of an epoch; one that multiplies all rates by one number.
        strategy: a name that :func:`medtl_monai.transfer.strategy.build_strategy` knows.
        lr, weight_decay: as for the optimiser.
        every: epochs from one stage to the next.
        folder: folder of the checkpoints.
        resume: the training continues from ``last.ckpt`` in there.

    Raises:
        ConfigError: an unknown strategy; for one that unfreezes, ``every`` below 1, a schedule that groups cannot
            join, an optimiser with other rates, or a network wrapped for distributed training.
        WeightsError: in the run, ``resume`` is set and there is no whole ``last.ckpt``.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        strategy: str,
        lr: float,
        weight_decay: float = 0.01,
        every: int = 1,
        folder: str = "",
        resume: bool = False,
    ) -> None:
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.strategy = build_strategy(strategy)
        self.lr, self.weight_decay, self.every = lr, weight_decay, every
        self.path, self.resume = Path(folder) / LAST, switch("resume", resume)
        if self.strategy.unfreeze is not None:
            self._require_fit()

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        if self.strategy.unfreeze is None:
            return
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def restore(self, engine: Engine) -> None:
        """Bring optimiser and schedule to the groups that they had at the end of the checkpoint's epoch.

        A frozen stage still has the source's weights when it is freed, and its learning rates follow from these; so
        they come out the same now, before the checkpoint's weights are restored.
        """
        for epoch in range(1, int(read_checkpoint(self.path)["epoch"]) + 1):
            self._unfreeze(epoch)

    def __call__(self, engine: Engine) -> None:
        """Free what is due in the epoch that starts."""
        if freed := self._unfreeze(engine.state.epoch):
            logger.info("epoch %d: training %s as well", engine.state.epoch, ", ".join(freed))

    def _unfreeze(self, epoch: int) -> tuple[str, ...]:
        """Freeze what is frozen in an epoch, and optimise the rest; the stages that became free."""
        network = staged(self.network)
        before = network.frozen_stages
        if self.strategy.unfreeze is None:
            return ()
        wanted = self.strategy.unfreeze(network, (epoch - 1) // self.every + 1)
        if wanted == before:
            return ()
        network.freeze(wanted)
        add_groups(self.optimizer, self.lr_scheduler, self.strategy.groups(network, self.lr, self.weight_decay))
        return tuple(stage for stage in before if stage not in wanted)

    def _require_fit(self) -> None:
        if self.every < 1:
            raise ConfigError("stages are freed every so many epochs", expected="every >= 1", got=self.every)
        if isinstance(self.network, nn.parallel.DistributedDataParallel):
            raise ConfigError(
                f"strategy {self.strategy.name!r} frees parameters that DistributedDataParallel may not follow",
                expected="a training in one process",
                remedy="train on one GPU, or choose `--strategy llrd`",
            )
        require_growing_schedule(self.lr_scheduler)
        planned = self.strategy.groups(staged(self.network), self.lr, self.weight_decay)
        own = self.optimizer.param_groups
        if len(planned) != len(own) or any(
            not math.isclose(one.get("initial_lr", one["lr"]), other["lr"], rel_tol=1e-6)
            or not math.isclose(one["weight_decay"], other["weight_decay"], rel_tol=1e-6)
            for one, other in zip(own, planned, strict=True)
        ):
            raise ConfigError(
                "the optimiser is not that of the strategy",
                expected=f"{len(planned)} parameter groups for a learning rate of {self.lr:g} and a weight decay of "
                f"{self.weight_decay:g}",
                got=f"{len(own)} groups with other values",
                remedy="build it with build_optimizer, with the same strategy, lr and weight_decay",
            )
