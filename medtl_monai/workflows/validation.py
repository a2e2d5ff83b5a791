"""Validation during training, the starting weights included."""

from __future__ import annotations

import logging
from contextlib import nullcontext

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from medtl_monai.errors import ConfigError
from medtl_monai.switch import switch
from medtl_monai.workflows.averaging import WeightAverage

logger = logging.getLogger(__name__)


def has_cases(validator: Evaluator) -> bool:
    """Whether there is anything to validate on; MONAI Label leaves nothing when fewer than five scans are labelled."""
    return len(validator.data_loader) > 0  # type: ignore[arg-type]


class ValidateEvery:
    """Run the validator before the first epoch (epoch 0), every ``interval`` epochs, and after the last one.

    Epoch 0 tells what the source is worth without training. The epoch that was judged last is in
    ``engine.state.validated_epoch`` for the handlers that follow. Without validation cases there is only a warning.

    Args:
        validator: evaluator with a key metric.
        interval: epochs between two validations.
        before_training: judge the starting weights too.
        average: the average of the weights to judge in their place, where one is kept.
    """

    def __init__(
        self,
        validator: Evaluator,
        interval: int = 1,
        before_training: bool = True,
        average: WeightAverage | None = None,
    ) -> None:
        if interval < 1:
            raise ConfigError("validation interval", expected="1 or more epochs", got=interval)
        self.validator = validator
        self.interval = interval
        self.average = average
        self.before_training = switch("val_at_start", before_training)

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Judge the starting weights, unless the training is resumed."""
        if not has_cases(self.validator):
            logger.warning("no validation cases: model.pt will hold the last weights, whether better or worse")
        if self.before_training and engine.state.epoch == 0:
            self._validate(engine)

    def __call__(self, engine: Engine) -> None:
        """Validate if it is due."""
        if engine.state.epoch % self.interval == 0 or engine.state.epoch == engine.state.max_epochs:
            self._validate(engine)

    def _validate(self, engine: Engine) -> None:
        if not has_cases(self.validator):
            return
        with nullcontext() if self.average is None else self.average.applied():
            self.validator.run(max(engine.state.epoch, 1))  # MONAI counts its epochs from 1
        engine.state.validated_epoch = engine.state.epoch
