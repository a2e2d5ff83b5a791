"""Stop a training whose loss is no longer a number."""

from __future__ import annotations

import math

from ignite.engine import Engine, Events

from medtl_monai.errors import MedTLError
from medtl_monai.workflows.batches import batch_cases


class FiniteLoss:
    """Raise MedTLError, naming the cases of the batch, as soon as the loss is NaN or infinite.

    The weights of the last epoch stay in ``last.ckpt``; nothing that is not finite is ever saved.
    """

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check the loss of the iteration that ended."""
        output = engine.state.output
        losses = [float(item["loss"]) for item in (output if isinstance(output, list) else [output])]
        if all(math.isfinite(loss) for loss in losses):
            return
        raise MedTLError(
            "the training loss is not finite",
            case=", ".join(batch_cases(engine.state.batch)),
            expected="a finite loss",
            got=f"{losses[0]} at epoch {engine.state.epoch}, iteration {engine.state.iteration}",
            remedy="lower --learning_rate, or look at the images of these cases",
        )
