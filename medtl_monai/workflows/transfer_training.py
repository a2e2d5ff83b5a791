"""The handlers of a transfer training, in the one order in which they work together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.engines import Evaluator
from monai.handlers import LrScheduleHandler
from monai.transforms import Compose
from torch import nn
from torch.utils.data import Dataset

from medtl_monai.weights.licence import Lineage
from medtl_monai.workflows.averaging import WeightAverage
from medtl_monai.workflows.calibration import Calibration
from medtl_monai.workflows.checkpoint import AtomicCheckpoint, ResumeTraining
from medtl_monai.workflows.curves import CurveWriter
from medtl_monai.workflows.determinism import EpochSeed
from medtl_monai.workflows.fit_head import FitHead
from medtl_monai.workflows.guard import FiniteLoss
from medtl_monai.workflows.norm import ReestimateNorm
from medtl_monai.workflows.unfreezing import GradualUnfreezing
from medtl_monai.workflows.validation import ValidateEvery


class TransferTraining:
    """Everything between MONAI's trainer and a finished ``model.pt``, as one handler of the training engine.

    In this order: gradual unfreezing, resume, seeds, norm statistics, a head fitted in advance, the check for losses
    that are not finite, the moving average, validation, ``curves.csv``, the learning rate, checkpoints. Each is a
    handler of its own in this room and documented there.

    Args:
        network, optimizer, lr_scheduler: what is trained, from `build_optimizer` with the same strategy and rate.
        strategy, learning_rate, seed, resume: the knobs of the run.
        loss: the task's loss, without what the strategy adds to it.
        validator: evaluator whose key metric decides what is kept.
        augmentation: the training preprocessing, seeded every epoch.
        examples: the training cases with the validation's preprocessing, for a head that is fitted in advance.
        output_dir: folder of ``curves.csv``.
        ckpt_dir: folder of the checkpoints.
        lineage: the weights that the training starts from.
        average: moving average of the weights, None for none.
        calibration: temperature of a classifier, None for none.
        reestimate_norm: recompute batch norm statistics first.
        val_interval: epochs between two validations.
        val_at_start: judge the starting weights too.

    Raises:
        ConfigError: as the handlers do.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        strategy: str,
        learning_rate: float,
        seed: int,
        resume: bool,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        validator: Evaluator,
        augmentation: Compose,
        examples: Dataset,
        output_dir: str,
        ckpt_dir: str,
        lineage: Sequence[Lineage] = (),
        average: WeightAverage | None = None,
        calibration: Calibration | None = None,
        reestimate_norm: bool = False,
        val_interval: int = 1,
        val_at_start: bool = True,
    ) -> None:
        average = WeightAverage(network) if average is None else average
        trained = (network, optimizer, lr_scheduler)
        self.handlers = (
            GradualUnfreezing(*trained, strategy, learning_rate, folder=ckpt_dir, resume=resume),
            ResumeTraining(ckpt_dir, *trained, resume, seed, strategy, average),
            EpochSeed(seed, augmentation),
            ReestimateNorm(network, reestimate_norm),
            FitHead(network, strategy, loss, DataLoader(examples), seed),
            FiniteLoss(),
            average,
            ValidateEvery(validator, val_interval, val_at_start, average),
            CurveWriter(str(Path(output_dir) / "curves.csv"), optimizer, validator),
            LrScheduleHandler(lr_scheduler, print_lr=False),
            AtomicCheckpoint(ckpt_dir, *trained, validator, seed, strategy, lineage, average, calibration),
        )

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        for handler in self.handlers:
            handler.attach(engine)
