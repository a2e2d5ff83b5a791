"""The curves of a training, compared with the schedule's formula and with losses counted beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Events
from toy import CASES, Toy, stop_after

from medtl_monai.workflows.curves import CurveWriter, read_curves
from medtl_monai.workflows.validation import ValidateEvery


def test_rows_hold_rate_loss_and_metric(tmp_path: Path) -> None:
    toy = Toy(epochs=3, lr=0.02)
    losses: list[list[float]] = [[]]
    scores: list[float] = []
    trainer = toy.trainer
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: losses.append([]))
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses[-1].append(engine.state.output[0]["loss"])
    )
    toy.evaluator.add_event_handler(Events.COMPLETED, lambda engine: scores.append(engine.state.metrics["score"]))
    path = tmp_path / "new folder" / "curves.csv"
    toy.attach(ValidateEvery(toy.evaluator, 2), CurveWriter(str(path), toy.optimizer, toy.evaluator), toy.schedule())
    toy.run()

    rows = read_curves(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [len(epoch) for epoch in losses] == [0, CASES // 2, CASES // 2, CASES // 2]
    assert rows[0]["train_loss"] == ""
    for row, epoch in zip(rows[1:], losses[1:], strict=True):
        assert float(row["train_loss"]) == pytest.approx(sum(epoch) / len(epoch), abs=1e-5)
    # the rate with which an epoch ran: 0.02 (1 - (epoch - 1) / 3)^0.9
    rates = [0.02, *(0.02 * (1 - step / 3) ** 0.9 for step in range(3))]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(rates, rel=5e-3)
    assert [row["score"] for row in rows] == [f"{scores[0]:.5f}", "", f"{scores[1]:.5f}", f"{scores[2]:.5f}"]
    assert all(float(row["seconds"]) >= 0 for row in rows)


def test_a_resumed_training_keeps_the_rows_before_it_and_no_others(tmp_path: Path) -> None:
    stopped = Toy().complete(tmp_path)
    stop_after(stopped, 2)
    stopped.run()
    before = read_curves(tmp_path / "curves.csv")
    (tmp_path / "curves.csv").open("a").write("3,9,9,9,9\n")  # an epoch that was lost with its checkpoint
    Toy().complete(tmp_path, resume=True).run()
    after = read_curves(tmp_path / "curves.csv")
    assert [row["epoch"] for row in after] == ["0", "1", "2", "3", "4"]
    assert after[:3] == before[:3]
    assert after[3]["train_loss"] != "9"


def test_no_file_means_no_rows(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "curves.csv") == []
