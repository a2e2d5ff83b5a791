"""Randomness as a function of seed and epoch, so that a resumed training equals an uninterrupted one."""

from __future__ import annotations

import numpy as np
from ignite.engine import Engine, Events
from monai.transforms import Compose
from monai.utils import set_determinism


def epoch_seed(seed: int, epoch: int) -> int:
    """A 31-bit seed that depends on the run's seed and the epoch alone."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]) % 2**31


class EpochSeed:
    """Seed torch, numpy, Python and the training transforms at the start of every epoch.

    MONAI's checkpoints hold no random state: a training stopped and resumed there goes on with other augmentations and
    another order of cases. Here the random state of an epoch is a pure function of ``(seed, epoch)``.

    Args:
        seed: seed of the run.
        transform: the training preprocessing; every random transform in it is seeded.
    """

    def __init__(self, seed: int, transform: Compose) -> None:
        self.seed = seed
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """Register with a training engine."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed everything for the epoch that starts."""
        seed = epoch_seed(self.seed, engine.state.epoch)
        set_determinism(seed)
        self.transform.set_random_state(seed=seed)
