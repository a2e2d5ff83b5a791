"""The moving average of the weights during a training: judged and saved in place of the last weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.average import MovingAverage
from medtl_monai.workflows.checkpoint_files import bare


class WeightAverage:
    """Keep an exponential moving average of the network's weights when ``decay`` is above 0; else do nothing.

    The average begins with the first step, whatever the weights were before. Give it to the handlers that validate and
    save; ``last.ckpt`` keeps both the weights and their average, so that a resumed training goes on exactly.

    Args:
        network: the network in training, or its DistributedDataParallel wrapper.
        decay: see :class:`medtl_monai.transfer.average.MovingAverage`; 0 for none.

    Raises:
        ConfigError: decay outside [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.0) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError("decay of the moving average out of range", expected="0 <= ema < 1", got=decay)
        self.network, self.decay = network, decay
        self._average: MovingAverage | None = None

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        if self.decay > 0.0:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take in the weights after a step."""
        self._started().update(bare(self.network))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the network has the averaged weights; before the first step, and without decay, its own."""
        if self._average is None:
            yield
            return
        with self._average.applied(bare(self.network)):
            yield

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: ``decay``, and ``average``, empty before the first step."""
        return {"decay": self.decay, "average": {} if self._average is None else self._average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Raises ConfigError if that is of another decay."""
        if state["decay"] != self.decay:
            raise ConfigError(
                "the training to resume has another moving average of its weights",
                expected=f"--ema {state['decay']:g}",
                got=f"{self.decay:g}",
                remedy="resume with the --ema that it was started with",
            )
        if state["average"]:
            self._started().load_state_dict(state["average"])

    def _started(self) -> MovingAverage:
        if self._average is None:
            self._average = MovingAverage(bare(self.network), self.decay)
        return self._average
