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
    """

    def __init__(self, validator: Evaluator, interval: int = 1) -> None:
        if interval < 1:
            raise ConfigError("validation interval", expected="1 or more epochs", got=interval)
        self.validator = validator
        self.interval = interval

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        engine.add_event_handler(Events.STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Validate if it is due."""
        epoch = engine.state.epoch
        resumed = epoch > 0 and getattr(engine.state, "validated_epoch", None) is None and self._at_start(engine)
        if not resumed and (epoch % self.interval == 0 or epoch == engine.state.max_epochs):
            self.validator.run(max(epoch, 1))
            engine.state.validated_epoch = epoch

    @staticmethod
    def _at_start(engine: Engine) -> bool:
        return engine.last_event_name == Events.STARTED
