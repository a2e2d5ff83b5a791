"""Batch norm statistics of the user's own scans, before a training starts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch import nn

from medtl_monai.switch import switch
from medtl_monai.transfer.norm_statistics import reestimate_norm
from medtl_monai.workflows.checkpoint_files import bare


class ReestimateNorm:
    """Recompute the running statistics of batch norm on the training images, when ``enabled`` is set.

    For frozen features of an inflated network above all: its statistics are those of photographs, and mean inflation
    shrinks the spread of what varies in depth. A resumed training keeps the statistics of its checkpoint.

    Args:
        network: the network, filled from its source.
        enabled: do it; without it the handler does nothing.
        max_batches: how many batches of the trainer's loader at most; None for one epoch.

    Raises:
        ConfigError: ``enabled`` is neither on nor off; in the run, a network without batch norm.
    """

    def __init__(self, network: nn.Module, enabled: bool = False, max_batches: int | None = None) -> None:
        self.network, self.max_batches = network, max_batches
        self.enabled = switch("reestimate_norm", enabled)

    def attach(self, engine: Engine) -> None:
        """Register with a training engine, before the handlers that validate and save at the start."""
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Recompute the statistics."""
        if engine.state.epoch == 0:
            reestimate_norm(bare(self.network), _images(engine), max_batches=self.max_batches)


def _images(engine: SupervisedTrainer) -> Iterator[torch.Tensor]:
    for batch in engine.data_loader:
        yield engine.prepare_batch(batch, engine.state.device, engine.non_blocking)[0]
