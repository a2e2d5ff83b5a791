"""A head that is fitted on frozen features before the first step, where the strategy says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.examples import Example
from medtl_monai.transfer.strategy import build_strategy, staged
from medtl_monai.workflows.batches import batch_cases

logger = logging.getLogger(__name__)


class FitHead:
    """Fit the head at the start of a training (``lp_ft``, ``features_*``); nothing with the other strategies.

    For a strategy whose head is final after that, the training is one epoch without any step: it is validated,
    recorded and saved like any other. Attach it after the handlers that restore or re-estimate anything and before
    those that validate and save. A resumed training keeps the head of its checkpoint.

    Args:
        network: the network, filled from its source.
        strategy: a name that :func:`medtl_monai.transfer.strategy.build_strategy` knows.
        loss: the task's loss.
        loader: batches of one training case each, without augmentation: a mapping with ``image``, ``label``, ``case``
            and perhaps ``patient``.
        seed: of all that is drawn.

    Raises:
        ConfigError: an unknown strategy, or one that fits a head, and a network wrapped for distributed training.
    """

    def __init__(
        self,
        network: nn.Module,
        strategy: str,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        loader: Iterable[Mapping[str, Any]],
        seed: int = 0,
    ) -> None:
        self.strategy = build_strategy(strategy)
        self.network, self.loss, self.loader, self.seed = network, loss, loader, seed
        if self.strategy.fit is not None and isinstance(network, nn.parallel.DistributedDataParallel):
            raise ConfigError(
                f"strategy {strategy!r} fits the head in one process",
                expected="a training in one process",
                got="a network in DistributedDataParallel",
                remedy="train with configs/train.json alone",
            )

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        if self.strategy.fit is None:
            return
        engine.add_event_handler(Events.STARTED, self)
        if not self.strategy.steps:
            engine.add_event_handler(Events.STARTED, _one_epoch)
            engine.add_event_handler(Events.GET_BATCH_STARTED, _no_step)

    def __call__(self, engine: Engine) -> None:
        """Fit the head."""
        if engine.state.epoch > 0 or self.strategy.fit is None:
            return
        fitted = self.strategy.fit(staged(self.network), self._examples(), self.loss, seed=self.seed)
        engine.state.head_fit = fitted
        logger.info("head fitted: %s", fitted)

    def _examples(self) -> Iterator[Example]:
        for batch in self.loader:
            (case,) = batch_cases(batch)
            (patient,) = batch.get("patient", [case])
            yield Example(case, str(patient), batch["image"], batch["label"])


def _one_epoch(engine: Engine) -> None:
    engine.state.max_epochs = 1


def _no_step(engine: Engine) -> None:
    engine.terminate_epoch()
