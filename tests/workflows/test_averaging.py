"""The moving average in a training: what is judged, saved and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from toy import Toy, stop_after

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.average import warm_decay
from medtl_monai.weights.read import read_state
from medtl_monai.workflows.averaging import WeightAverage
from medtl_monai.workflows.checkpoint import AtomicCheckpoint, ResumeTraining
from medtl_monai.workflows.checkpoint_files import read_checkpoint
from medtl_monai.workflows.determinism import EpochSeed
from medtl_monai.workflows.validation import ValidateEvery

DECAY = 0.7


def averaged(folder: Path, resume: bool = False, decay: float = DECAY, epochs: int = 4) -> Toy:
    """A training with an average, whose last weights count as the best."""
    toy = Toy(epochs=epochs)
    average = WeightAverage(toy.network, decay)
    toy.attach(
        average,
        ResumeTraining(str(folder), *toy.parts(), resume=resume, average=average),
        EpochSeed(0, toy.transform),
        ValidateEvery(toy.evaluator, average=average),
        AtomicCheckpoint(str(folder), *toy.parts(), toy.evaluator, average=average),
    )
    return toy


def test_the_model_is_the_average_by_hand_and_the_checkpoint_keeps_the_weights(tmp_path: Path) -> None:
    toy = averaged(tmp_path)
    seen: list[torch.Tensor] = []
    judged: list[torch.Tensor] = []
    weight = toy.network[0].weight
    toy.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(weight.detach().clone()))

    def look(engine: Engine) -> None:
        judged.append(weight.detach().clone())
        engine.state.metrics = {name: float(len(judged)) for name in engine.state.metrics}  # each better than the last

    toy.evaluator.add_event_handler(Events.COMPLETED, look)
    toy.run()
    by_hand = seen[0]
    for step, value in enumerate(seen[1:], start=1):
        decay = warm_decay(step, DECAY)
        by_hand = decay * by_hand + (1 - decay) * value
    torch.testing.assert_close(judged[-1], by_hand)
    assert not torch.allclose(by_hand, seen[-1])
    assert torch.equal(weight, seen[-1])
    torch.testing.assert_close(read_state(tmp_path / "model.pt")["0.weight"], judged[toy.trainer.state.best[1]])
    last = read_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(last["network"]["0.weight"], seen[-1])
    torch.testing.assert_close(last["average"]["average"]["averages"]["0.weight"], by_hand)


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    averaged(tmp_path / "whole").run()
    first = averaged(tmp_path / "parts")
    stop_after(first, 2)
    first.run()
    averaged(tmp_path / "parts", resume=True).run()
    whole, parts = (read_checkpoint(tmp_path / name / "last.ckpt")["average"]["average"] for name in ("whole", "parts"))
    assert whole["updates"] == parts["updates"] > 0
    for key, values in whole["averages"].items():
        assert torch.equal(values, parts["averages"][key])


@pytest.mark.parametrize("decays", [(DECAY, 0.0), (0.0, DECAY), (DECAY, 0.9)])
def test_a_resume_with_another_average_is_refused(tmp_path: Path, decays: tuple[float, float]) -> None:
    first = averaged(tmp_path, decay=decays[0])
    stop_after(first, 1)
    first.run()
    with pytest.raises(ConfigError, match=r"another moving average.*--ema"):
        averaged(tmp_path, resume=True, decay=decays[1]).run()


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ConfigError, match="0 <= ema < 1"):
        WeightAverage(torch.nn.Linear(2, 2), decay)
