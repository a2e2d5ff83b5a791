"""Gradual unfreezing in MONAI's trainer: what trains when, and a resume that continues bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import nn
from toy import Toy, same, stop_after

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.loss import TransferLoss
from medtl_monai.transfer.strategy import build_optimizer
from medtl_monai.workflows.checkpoint import ResumeTraining
from medtl_monai.workflows.checkpoint_files import read_checkpoint
from medtl_monai.workflows.unfreezing import GradualUnfreezing

EPOCHS = 5
LR = 0.01


def layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(channels, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(), nn.Dropout(0.2))


class Tiny(StagedNetwork):
    """Three stages with batch norm and dropout, and a head."""

    architecture = "tiny"

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle, self.deep, self.out = layer(1, 2), layer(2, 3), layer(3, 2), nn.Conv3d(2, 1, 1)
        self.stages = {"stem": ("stem",), "middle": ("middle",), "deep": ("deep",), "head": ("out",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.out(self.deep(self.middle(self.stem(image))))


class Transfer(Toy):
    """The toy training with stages and a strategy; its weights play the source."""

    def __init__(
        self, strategy: str = "gradual_unfreeze", *, epochs: int = EPOCHS, seed: int = 0, lr: float = LR
    ) -> None:
        super().__init__(epochs=epochs)
        torch.manual_seed(seed)
        self.strategy, self.lr = strategy, lr
        self.network = Tiny()
        self.optimizer = build_optimizer(self.network, strategy=strategy, lr=lr)
        self.lr_scheduler = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, total_iters=epochs, power=0.9)
        self.loss = TransferLoss(nn.MSELoss(), self.network, strategy)
        self.trainer.network = self.evaluator.network = self.network
        self.trainer.optimizer, self.trainer.loss_function = self.optimizer, self.loss

    def unfreezing(self, **settings: Any) -> GradualUnfreezing:
        settings = {"lr": self.lr, **settings}
        return GradualUnfreezing(*self.parts(), strategy=self.strategy, **settings)

    def prepared(self, folder: Path, *, resume: bool = False, every: int = 1) -> Transfer:
        """All handlers, in the order of a bundle."""
        self.attach(self.unfreezing(every=every, folder=str(folder), resume=resume))
        self.complete(folder, resume=resume)
        return self

    def watch(self, event: Events, look: Callable[[], Any]) -> list[Any]:
        """What ``look`` gives each time, from now on."""
        seen: list[Any] = []
        self.trainer.add_event_handler(event, lambda engine: seen.append(look()))
        return seen


def stages_of_the_optimizer(toy: Transfer) -> set[str]:
    members = [p for group in toy.optimizer.param_groups for p in group["params"]]
    assert len(members) == len({id(p) for p in members}), "each parameter once"
    names = {id(p): n for n, p in toy.network.named_parameters()}
    return {toy.network.stage_of(names[id(p)]) for p in members}


def test_one_more_stage_each_epoch(tmp_path: Path) -> None:
    toy = Transfer().prepared(tmp_path)
    states = [{n: t.clone() for n, t in toy.network.state_dict().items()}]
    frozen = toy.watch(Events.EPOCH_COMPLETED, lambda: toy.network.frozen_stages)
    held = toy.watch(Events.EPOCH_COMPLETED, lambda: stages_of_the_optimizer(toy))
    copies = toy.watch(Events.EPOCH_COMPLETED, lambda: {n: t.clone() for n, t in toy.network.state_dict().items()})
    toy.run()
    free = [{"head"}, {"head", "deep"}, {"head", "deep", "middle"}, set(toy.network.stages), set(toy.network.stages)]
    assert frozen == [("stem", "middle", "deep"), ("stem", "middle"), ("stem",), (), ()]
    assert held == free
    for before, after, stages in zip([states[0], *copies], copies, free, strict=False):
        moved = {toy.network.stage_of(n) for n in after if not torch.equal(before[n], after[n])}
        assert moved == stages, "frozen stages bit for bit, norm statistics included"
    assert [int(toy.optimizer.state[p]["step"]) for p in (toy.network.out.weight, toy.network.stem[0].weight)] == [
        3 * EPOCHS,
        3 * (EPOCHS - 3),
    ]


def test_rates_follow_the_formula_for_the_late_ones_too(tmp_path: Path) -> None:
    toy = Transfer().prepared(tmp_path)
    epochs = iter(range(EPOCHS))

    def check() -> int:
        epoch = next(epochs)
        for group in toy.optimizer.param_groups:
            assert group["lr"] == pytest.approx(LR * group["lr_scale"] * (1 - epoch / EPOCHS) ** 0.9, rel=1e-9)
        assert len(toy.lr_scheduler.base_lrs) == len(toy.optimizer.param_groups)
        return len(toy.optimizer.param_groups)

    toy.watch(Events.ITERATION_COMPLETED(every=3), check)  # three iterations are an epoch
    toy.trainer.run()
    assert next(epochs, None) is None, "every epoch was looked at"


@pytest.mark.parametrize(("every", "epoch_of_all"), [(1, 4), (2, 7), (3, 10)])
def test_every_so_many_epochs(tmp_path: Path, every: int, epoch_of_all: int) -> None:
    toy = Transfer(epochs=epoch_of_all).attach()
    toy.attach(toy.unfreezing(every=every))
    counts = toy.watch(Events.EPOCH_COMPLETED, lambda: len(toy.network.frozen_stages))
    toy.trainer.run()
    assert counts == [max(0, 3 - epoch // every) for epoch in range(epoch_of_all)]
    assert counts[-2:] == [1, 0]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_resume_from_any_epoch_continues_bit_for_bit(tmp_path: Path, epoch: int, every: int) -> None:
    whole = Transfer().prepared(tmp_path / "whole", every=every)
    weights = whole.run()
    stopped = Transfer().prepared(tmp_path / "stopped", every=every)
    stop_after(stopped, epoch)
    stopped.run()
    assert read_checkpoint(tmp_path / "stopped" / "last.ckpt")["epoch"] == epoch
    resumed = Transfer().prepared(tmp_path / "stopped", resume=True, every=every)
    assert same(resumed.run(), weights)
    assert resumed.network.frozen_stages == whole.network.frozen_stages
    assert [g["lr"] for g in resumed.optimizer.param_groups] == [g["lr"] for g in whole.optimizer.param_groups]
    assert [g["name"] for g in resumed.optimizer.param_groups] == [g["name"] for g in whole.optimizer.param_groups]
    assert resumed.lr_scheduler.state_dict() == whole.lr_scheduler.state_dict()


@pytest.mark.parametrize("planted", ["after the resume", "without resume", "other source", "every other epoch"])
def test_a_resume_that_cannot_be_right_is_refused(tmp_path: Path, planted: str) -> None:
    stopped = Transfer().prepared(tmp_path)
    stop_after(stopped, 3)
    stopped.run()
    toy = Transfer(seed=1 if planted == "other source" else 0)
    restoring = ResumeTraining(str(tmp_path), *toy.parts(), resume=True)
    unfreezing = toy.unfreezing(
        folder=str(tmp_path), resume=planted != "without resume", every=2 if planted == "every other epoch" else 1
    )
    toy.attach(*((restoring, unfreezing) if planted == "after the resume" else (unfreezing, restoring)))
    with pytest.raises(
        ConfigError, match=r"checkpoint is of another training.*other (trainable layers|learning rates)"
    ):
        toy.run()


def test_a_resume_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing to resume from"):
        Transfer().prepared(tmp_path, resume=True).run()


@pytest.mark.parametrize("strategy", ["fine_tune", "linear_probe", "freeze_to_stem", "llrd", "l2_sp"])
def test_strategies_that_never_unfreeze_are_left_alone(tmp_path: Path, strategy: str) -> None:
    """With the handler and without it: the same training, and the same after a resume."""
    plain = Transfer(strategy).complete(tmp_path / "plain").run()
    stopped = Transfer(strategy).prepared(tmp_path / "with")
    stop_after(stopped, 2)
    stopped.run()
    resumed = Transfer(strategy).prepared(tmp_path / "with", resume=True)
    assert same(resumed.run(), plain)


def test_l2_sp_of_a_resumed_training_pulls_towards_the_source(tmp_path: Path) -> None:
    source = {n: p.detach().clone() for n, p in Transfer("l2_sp").network.named_parameters()}
    stopped = Transfer("l2_sp").prepared(tmp_path)
    stop_after(stopped, 2)
    stopped.run()
    saved = read_checkpoint(tmp_path / "last.ckpt")
    resumed = Transfer("l2_sp").prepared(tmp_path, resume=True)
    seen = resumed.watch(Events.EPOCH_STARTED, lambda: resumed.loss.penalty.shared().item())
    resumed.run()
    by_hand = sum(
        float((saved["network"][n] - tensor).square().sum())
        for n, tensor in source.items()
        if not n.startswith("out") and ".1." not in n  # neither the head nor batch norm
    )
    assert seen[0] == pytest.approx(0.05 * by_hand, rel=1e-5) != 0
    assert "start" not in " ".join(saved["network"])

    late = Transfer("l2_sp")
    late.network.load_state_dict(saved["network"])
    wrong = TransferLoss(nn.MSELoss(), late.network, "l2_sp")  # the defect: made after the checkpoint was restored
    assert wrong.penalty.shared().item() == 0.0


def test_l2_sp_of_another_source_is_refused_on_resume(tmp_path: Path) -> None:
    """The start is not in the checkpoint; learning rates follow the source's weights, so another one does not pass."""
    stopped = Transfer("l2_sp").prepared(tmp_path)
    stop_after(stopped, 2)
    stopped.run()
    with pytest.raises(ConfigError, match="other learning rates"):
        Transfer("l2_sp", seed=1).prepared(tmp_path, resume=True).run()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.02}, "learning rate of 0.02"),
        ({"weight_decay": 0.3}, "weight decay of 0.3"),
        ({"every": 0}, "every >= 1"),
    ],
)
def test_settings_that_do_not_fit_the_optimiser(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Transfer().unfreezing(**settings)


def test_an_optimiser_of_another_strategy_and_a_schedule_that_cannot_grow() -> None:
    toy = Transfer("fine_tune")
    toy.strategy = "gradual_unfreeze"
    with pytest.raises(ConfigError, match="not that of the strategy"):
        toy.unfreezing()
    toy = Transfer()
    toy.lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(toy.optimizer, LR, total_steps=EPOCHS)
    with pytest.raises(ConfigError, match=r"cannot join.*PolynomialLR.*got OneCycleLR"):
        toy.unfreezing()


def test_several_processes_are_refused(process_group: None) -> None:
    toy = Transfer()
    toy.network = nn.parallel.DistributedDataParallel(toy.network)
    with pytest.raises(ConfigError, match="one GPU"):
        toy.unfreezing()
    toy.strategy = "fine_tune"
    toy.unfreezing()
