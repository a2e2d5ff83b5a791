"""Validation during training, the starting weights included."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator

from medtl_monai.errors import ConfigError


class ValidateEvery:
    """Run the validator before the first epoch (epoch 0), every ``interval`` epochs, and after the last one.

    Epoch 0 tells what the source is worth without training. The epoch that was judged last is in
    ``engine.state.validated_epoch`` for the handlers that follow.

    Args:
        validator: evaluator with a key metric.
        interval: epochs between two validations.
        before_training: judge the starting weights too.
    """

    def __init__(self, validator: Evaluator, interval: int = 1, before_training: bool = True) -> None:
        if interval < 1:
            raise ConfigError("validation interval", expected="1 or more epochs", got=interval)
        self.validator = validator
        self.interval = interval
        self.before_training = before_training

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Judge the starting weights, unless the training is resumed."""
        if self.before_training and engine.state.epoch == 0:
            self._validate(engine)

    def __call__(self, engine: Engine) -> None:
        """Validate if it is due."""
        if engine.state.epoch % self.interval == 0 or engine.state.epoch == engine.state.max_epochs:
            self._validate(engine)

    def _validate(self, engine: Engine) -> None:
        self.validator.run(max(engine.state.epoch, 1))  # MONAI counts its epochs from 1
        engine.state.validated_epoch = engine.state.epoch
