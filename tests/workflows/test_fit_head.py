"""A head fitted at the start of a training: before everything is judged, once, and for good where no step follows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, from_engine
from monai.losses import DiceCELoss
from monai.transforms import AsDiscreted
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.strategy import build_optimizer
from medtl_monai.workflows.checkpoint import AtomicCheckpoint, ResumeTraining
from medtl_monai.workflows.checkpoint_files import read_checkpoint
from medtl_monai.workflows.fit_head import FitHead
from medtl_monai.workflows.validation import ValidateEvery

LOSS = DiceCELoss(to_onehot_y=True, softmax=True)


def cases(count: int = 3) -> list[dict[str, object]]:
    """A bright block in noise."""
    generator = torch.Generator().manual_seed(5)
    found: list[dict[str, object]] = []
    for index in range(count):
        label = torch.zeros(1, 12, 12, 12)
        label[:, 3:9, 2 + index : 8 + index, 4:10] = 1
        image = label + 0.4 * torch.randn(label.shape, generator=generator)
        found.append({"image": image, "label": label, "case": f"case_{index}"})
    return found


class Training:
    """MONAI's trainer on a few cases, with the handlers in the order of the bundles."""

    def __init__(self, strategy: str, folder: Path, epochs: int = 3, resume: bool = False) -> None:
        self.network = build_network("highres3dnet", out_channels=2)
        self.optimizer = build_optimizer(self.network, strategy=strategy, lr=1e-3)
        schedule = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, total_iters=epochs)
        loader = DataLoader(Dataset(cases()), batch_size=1)
        device = torch.device("cpu")
        self.evaluator = SupervisedEvaluator(
            device,
            DataLoader(Dataset(cases()), batch_size=1),
            self.network,
            postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=2),
            key_val_metric={"dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
        )
        self.losses: list[float] = []
        self.trainer = SupervisedTrainer(device, epochs, loader, self.network, self.optimizer, LOSS)
        parts = (self.network, self.optimizer, schedule)
        self.handlers = (
            ResumeTraining(str(folder), *parts, resume=resume, strategy=strategy),
            FitHead(self.network, strategy, LOSS, loader),
            ValidateEvery(self.evaluator),
            AtomicCheckpoint(str(folder), *parts, self.evaluator, strategy=strategy),
        )
        for handler in self.handlers:
            handler.attach(self.trainer)
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.losses.append(float(engine.state.output[0]["loss"]))
        )


def loss_in_evaluation(network: nn.Module) -> float:
    network.eval()
    with torch.no_grad():
        values = [float(LOSS(network(row["image"][None]), row["label"][None])) for row in cases()]
    return sum(values) / len(values)


def test_lp_ft_starts_where_the_probe_ended_and_goes_on(tmp_path: Path) -> None:
    training = Training("lp_ft", tmp_path)
    at_start: list[float] = []
    training.trainer.add_event_handler(
        Events.EPOCH_STARTED(once=1), lambda _: at_start.append(loss_in_evaluation(training.network))
    )
    training.trainer.run()
    assert at_start == [pytest.approx(training.trainer.state.head_fit.loss, rel=1e-3)]
    assert at_start[0] < 0.5 * training.trainer.state.head_fit.loss_before
    assert len(training.losses) == 9
    assert training.network.frozen_stages == ()


@pytest.mark.parametrize("strategy", ["cached_probe", "features_logistic", "features_svm"])
def test_a_final_head_is_judged_and_saved_without_a_step(tmp_path: Path, strategy: str) -> None:
    training = Training(strategy, tmp_path)
    training.trainer.run()
    assert training.losses == []
    assert training.trainer.state.epoch == training.trainer.state.validated_epoch == 1
    saved = read_checkpoint(tmp_path / "last.ckpt")
    assert saved["epoch"] == 1
    again = Training(strategy, tmp_path, resume=True)
    again.trainer.run()
    assert again.losses == []
    for name, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, saved["network"][name])


def test_a_resumed_lp_ft_keeps_its_head(tmp_path: Path) -> None:
    first = Training("lp_ft", tmp_path)
    first.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), first.trainer.terminate)
    first.trainer.run()
    second = Training("lp_ft", tmp_path, resume=True)
    second.trainer.run()
    assert not hasattr(second.trainer.state, "head_fit")
    assert second.trainer.state.epoch == 3


def test_other_strategies_fit_nothing(tmp_path: Path) -> None:
    training = Training("fine_tune", tmp_path, epochs=1)
    training.trainer.run()
    assert not hasattr(training.trainer.state, "head_fit")


def test_several_processes_are_refused(process_group: None) -> None:
    wrapped = nn.parallel.DistributedDataParallel(build_network("highres3dnet"))
    with pytest.raises(ConfigError, match="'lp_ft' fits the head in one process"):
        FitHead(wrapped, "lp_ft", LOSS, [])
    FitHead(wrapped, "fine_tune", LOSS, [])
