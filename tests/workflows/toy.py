"""A training small enough to run hundreds of times: random transforms, batch norm, dropout, a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, MeanSquaredError, from_engine
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from torch import nn

from medtl_monai.workflows.checkpoint import AtomicCheckpoint, ResumeTraining
from medtl_monai.workflows.curves import CurveWriter
from medtl_monai.workflows.determinism import EpochSeed
from medtl_monai.workflows.validation import ValidateEvery

CASES = 6


def images(count: int = CASES) -> list[dict[str, Any]]:
    """Cases ``case_0`` ... with an image and a label of shape (1, 4, 4, 4)."""
    rng = np.random.default_rng(7)
    return [
        {"image": rng.normal(size=(1, 4, 4, 4)).astype(np.float32), "label": np.ones((1, 4, 4, 4), np.float32)}
        | {"case": f"case_{number}"}
        for number in range(count)
    ]


class Toy:
    """A training of a small network and everything that the handlers ask for, without any handler of ours."""

    def __init__(
        self,
        *,
        epochs: int = 4,
        width: int = 2,
        lr: float = 0.01,
        data: list[dict[str, Any]] | None = None,
        validation: int = 2,
        workers: int = 0,
    ) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv3d(1, width, 3, padding=1), nn.BatchNorm3d(width), nn.Dropout(0.2), nn.Conv3d(width, 1, 1)
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr)
        self.lr_scheduler = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, total_iters=epochs, power=0.9)
        self.transform = Compose(
            [RandFlipd("image", prob=0.5, spatial_axis=0), RandGaussianNoised("image", prob=0.5, std=0.5)]
        )
        train = Dataset(images() if data is None else data, self.transform)
        self.evaluator = SupervisedEvaluator(
            torch.device("cpu"),
            DataLoader(Dataset(images(validation)), batch_size=1),
            self.network,
            key_val_metric={
                "score": MeanSquaredError(output_transform=from_engine(["pred", "label"])),
            },
            metric_cmp_fn=lambda current, best: current < best,
        )
        self.trainer = SupervisedTrainer(
            torch.device("cpu"),
            epochs,
            DataLoader(train, batch_size=2, shuffle=True, num_workers=workers),
            self.network,
            self.optimizer,
            nn.MSELoss(),
        )

    def attach(self, *handlers: Any) -> Toy:
        """Attach handlers in their order."""
        for handler in handlers:
            handler.attach(self.trainer)
        return self

    def schedule(self) -> LrScheduleHandler:
        """The handler that steps the learning rate."""
        return LrScheduleHandler(self.lr_scheduler, print_lr=False)

    def parts(self) -> tuple[Any, ...]:
        """Network, optimiser and schedule, as the checkpoint handlers take them."""
        return self.network, self.optimizer, self.lr_scheduler

    def complete(self, folder: Path, *, seed: int = 0, resume: bool = False, interval: int = 1) -> Toy:
        """Attach the handlers of the bundle's training (the record apart), in its order."""
        return self.attach(
            ResumeTraining(str(folder), *self.parts(), resume=resume),
            EpochSeed(seed, self.transform),
            ValidateEvery(self.evaluator, interval),
            CurveWriter(str(folder / "curves.csv"), self.optimizer, self.evaluator),
            self.schedule(),
            AtomicCheckpoint(str(folder), *self.parts(), self.evaluator),
        )

    def run(self) -> dict[str, torch.Tensor]:
        """Train; the final weights."""
        self.trainer.run()
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal in every bit."""
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(toy: Toy, epoch: int) -> None:
    """Let a training end early, as if it had been interrupted after an epoch."""
    from ignite.engine import Events

    toy.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=epoch), toy.trainer.terminate)


def train_for_ever(folder: str, width: int, rows: Sequence[str] = ()) -> None:
    """Training that a test kills; started in a process of its own."""
    torch.set_num_threads(1)
    Toy(epochs=10**6, width=width).complete(Path(folder)).run()
