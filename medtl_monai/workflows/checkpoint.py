"""Checkpoints that are whole or absent, and a resume that continues bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn

from medtl_monai.errors import ConfigError, MedTLError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.switch import switch
from medtl_monai.weights.licence import Lineage, lineage_of_file, record_lineage, write_lineage
from medtl_monai.weights.read import read_state
from medtl_monai.workflows.averaging import WeightAverage
from medtl_monai.workflows.calibration import Calibration
from medtl_monai.workflows.checkpoint_files import (
    BEST,
    LAST,
    PREVIOUS,
    bare,
    holds,
    read_checkpoint,
    save_checkpoint,
    save_network,
)
from medtl_monai.workflows.ranks import is_main_process
from medtl_monai.workflows.validation import has_cases


class ResumeTraining:
    """Continue from ``last.ckpt`` at the next epoch, when ``resume`` is set.

    Args:
        folder: folder of the checkpoints.
        network, optimizer, lr_scheduler: the objects to restore.
        resume: do it; without it the handler does nothing.
        seed, strategy: those of the run; the rest of the training has to follow what it was started with.
        average: the average of the weights, where one is kept.

    Raises:
        WeightsError: ``resume`` is set and there is no whole ``last.ckpt``.
        ConfigError: ``last.ckpt`` is of a training with another seed or strategy, other epochs, learning rates or
            trainable layers.
    """

    def __init__(
        self,
        folder: str,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        resume: bool = False,
        seed: int = 0,
        strategy: str = "",
        average: WeightAverage | None = None,
    ) -> None:
        self.seed, self.strategy = seed, strategy
        self.average = WeightAverage(network) if average is None else average
        self.path = Path(folder) / LAST
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.resume = switch("resume", resume)

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        if self.resume:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Restore network, optimiser, schedule, epoch and best metric."""
        state = read_checkpoint(self.path)
        self._require_same_plan(state)
        bare(self.network).load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * engine.state.epoch_length
        engine.state.best = (state["best_metric"], state["best_epoch"])

    def _require_same_plan(self, state: Mapping[str, Any]) -> None:
        """Refuse settings that the checkpoint's own learning rates would silently replace."""
        saved, planned = state["lr_scheduler"], self.lr_scheduler.state_dict()
        got = []
        for name, now in (("seed", self.seed), ("strategy", self.strategy)):
            if state[name] != now:
                got.append(f"{name} {state[name]} there, {now} now")
        if saved.get("total_iters") != planned.get("total_iters"):
            got.append(f"{saved.get('total_iters')} epochs there, {planned.get('total_iters')} now")
        rates, wanted = (np.asarray(plan.get("base_lrs", [])) for plan in (saved, planned))
        if rates.shape != wanted.shape:
            got.append("other trainable layers")
        elif not np.allclose(rates, wanted, rtol=1e-6, atol=0):
            got.append("other learning rates")
        if got:
            raise ConfigError(
                "the checkpoint is of another training",
                path=self.path,
                expected="the same seed, epochs, learning rate, network, source and strategy",
                got=", ".join(got),
                remedy="resume with the settings it was started with; to go on from its weights with new ones, start "
                "a new training with --source FILE",
            )


class AtomicCheckpoint:
    """Keep ``model.pt`` (best validation metric so far, flat state dict) and ``last.ckpt`` (all that a resume needs).

    The weights that the training started from count as epoch 0 if the validator has run at the start: a training that
    only makes things worse leaves them in ``model.pt``. Without validation cases ``model.pt`` holds the last weights. A
    ``model.pt`` that was there before is kept as ``model_previous.pt``. Every file is written beside its name,
    reopened, and renamed.

    Args:
        folder: folder of the checkpoints.
        network, optimizer, lr_scheduler: the objects to save.
        validator: evaluator whose key metric decides; it runs before this handler.
        seed, strategy: those of the run, kept for a resume.
        lineage: the weights that the training started from; it goes beside ``model.pt`` and, in a bundle, into its
            metadata (:func:`medtl_monai.weights.licence.record_lineage`). A training that goes on from the ``model.pt``
            that is there (MONAI Label loads it so) inherits what that one descends from.
        average: the average of the weights that ``model.pt`` is to hold in their place, where one is kept.
        calibration: the temperature that ``model.pt`` is to hold, for classifiers.

    Raises:
        OutputError: a file cannot be written; the one that was there stays.
    """

    def __init__(
        self,
        folder: str,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler,
        validator: Evaluator,
        seed: int = 0,
        strategy: str = "",
        lineage: Sequence[Lineage] = (),
        average: WeightAverage | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.average = WeightAverage(network) if average is None else average
        self.calibration = Calibration(network, validator, enabled=False) if calibration is None else calibration
        self.seed, self.strategy, self.lineage = seed, strategy, tuple(lineage)
        self.folder = Path(folder)
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        """Register with a training engine, in the process that writes; the validating handler is attached before."""
        if not is_main_process():
            return
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Keep an earlier ``model.pt`` aside, and save the starting weights if the validator has judged them."""
        if getattr(engine.state, "best", None) is not None:
            self._inherit()
            return  # resumed: the best so far is known and in place
        engine.state.best = (float("-inf"), -1)
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / BEST).is_file():
            with atomic_write(self.folder / PREVIOUS, check=read_state) as temporary:
                shutil.copyfile(self.folder / BEST, temporary)
            write_lineage(self.folder / PREVIOUS, lineage_of_file(self.folder / BEST))
            if holds(self.network, self.folder / BEST):
                self._inherit()
        self._save_if_best(engine)

    def __call__(self, engine: Engine) -> None:
        """Save at the end of an epoch. Raises MedTLError if the weights are no longer finite; nothing is saved then."""
        self._require_finite(engine.state.epoch)
        if has_cases(self.validator):
            self._save_if_best(engine)
        else:
            self._save_best()
        metric, epoch = engine.state.best
        state = {
            "network": bare(self.network).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "epoch": engine.state.epoch,
            "best_metric": metric,
            "best_epoch": epoch,
            "seed": self.seed,
            "strategy": self.strategy,
            "average": self.average.state_dict(),
        }
        save_checkpoint(state, self.folder / LAST)

    def _require_finite(self, epoch: int) -> None:
        state = bare(self.network).state_dict()
        bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
        if bad:
            raise MedTLError(
                "the training has diverged",
                expected="finite weights",
                got=f"NaN or infinite values in {len(bad)} of {len(state)} tensors after epoch {epoch}",
                remedy="lower --learning_rate",
            )

    def _inherit(self) -> None:
        """Add what ``model.pt`` descends from."""
        if (self.folder / BEST).is_file():
            self.lineage = tuple(dict.fromkeys((*lineage_of_file(self.folder / BEST), *self.lineage)))

    def _save_best(self) -> None:
        path = self.folder / BEST
        if path.is_file() and (before := lineage_of_file(path)) != self.lineage:
            record_lineage(path, dict.fromkeys((*before, *self.lineage)))  # true of either, should the run end here
        with self.average.applied(), self.calibration.applied():
            save_network(self.network, path)
        self.calibration.write(path)
        record_lineage(path, self.lineage)

    def _save_if_best(self, engine: Engine) -> None:
        if getattr(engine.state, "validated_epoch", None) != engine.state.epoch:
            return
        metric = float(self.validator.state.metrics[self.validator.state.key_metric_name])
        if metric > engine.state.best[0]:
            self._save_best()
            engine.state.best = (metric, engine.state.epoch)
