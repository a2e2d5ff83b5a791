"""Checkpoints under kill -9, on a full disk, after a worsening training, and with other settings on resume."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from toy import Toy, same, stop_after, train_for_ever

from medtl_monai.errors import ConfigError, MedTLError, OutputError, WeightsError
from medtl_monai.weights.licence import Lineage, lineage_of_file, record_lineage
from medtl_monai.weights.read import read_state
from medtl_monai.workflows import checkpoint as checkpoint_module
from medtl_monai.workflows.checkpoint import AtomicCheckpoint, ResumeTraining
from medtl_monai.workflows.checkpoint_files import read_checkpoint, save_network
from medtl_monai.workflows.validation import ValidateEvery

FINAL_NAMES = {"model.pt": read_state, "model_previous.pt": read_state, "last.ckpt": read_checkpoint}


class Scored(Toy):
    """A toy training whose validation gives the scores of a list, one after another."""

    def __init__(self, scores: list[float], **settings: object) -> None:
        super().__init__(epochs=len(scores) - 1, **settings)  # type: ignore[arg-type]
        script = iter(scores)
        self.evaluator.state.key_metric_name = "score"

        def run(epoch: int) -> None:
            self.evaluator.state.metrics = {"score": next(script)}

        self.evaluator.run = run  # type: ignore[method-assign]
        self.kept: list[dict[str, torch.Tensor]] = []

    def snapshot(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


def train_scored(folder: Path, scores: list[float]) -> tuple[Scored, list[dict[str, torch.Tensor]]]:
    from ignite.engine import Events

    toy = Scored(scores)
    states = [toy.snapshot()]
    toy.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: states.append(toy.snapshot()))
    toy.complete(folder).run()
    return toy, states


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.5, 0.3], 1), ([0.9, 0.2, 0.1], 0), ([0.1, 0.2, 0.3], 2), ([0.4, 0.4, 0.4], 0), ([0.2, float("nan")], 0)],
)
def test_model_holds_the_best_epoch_the_start_included(tmp_path: Path, scores: list[float], best: int) -> None:
    toy, states = train_scored(tmp_path, scores)
    assert same(read_state(tmp_path / "model.pt"), states[best])
    assert toy.trainer.state.best == (scores[best], best)
    last = read_checkpoint(tmp_path / "last.ckpt")
    assert same(last["network"], states[-1])
    assert (last["epoch"], last["best_epoch"], last["best_metric"]) == (len(scores) - 1, best, scores[best])


def test_an_earlier_model_is_kept_aside(tmp_path: Path) -> None:
    save_network(nn.Linear(2, 2), tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    train_scored(tmp_path, [0.1, 0.2])
    assert (tmp_path / "model_previous.pt").read_bytes() == before
    assert (tmp_path / "model.pt").read_bytes() != before


def test_a_resume_does_not_move_the_model_aside(tmp_path: Path) -> None:
    stopped = Toy().complete(tmp_path)
    stop_after(stopped, 2)
    stopped.run()
    Toy().complete(tmp_path, resume=True).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv",
        "last.ckpt",
        "model.pt",
        "model.pt.lineage.json",
    ]


def test_without_validation_cases_the_last_weights_are_the_model(tmp_path: Path) -> None:
    weights = Toy(validation=0).complete(tmp_path).run()
    assert same(read_state(tmp_path / "model.pt"), weights)


def test_the_model_is_flat_tensors_only_and_repeatable_bytes(tmp_path: Path) -> None:
    network = nn.parallel.DataParallel(nn.Linear(2, 2)).module
    save_network(network, tmp_path / "a.pt")
    save_network(network, tmp_path / "b.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert {name: type(value) for name, value in content.items()} == {"weight": torch.Tensor, "bias": torch.Tensor}
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_twenty_kills_leave_only_whole_files(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monai.engines", "monai.handlers", "medtl_monai.workflows.checkpoint"])
    rng = random.Random(0)
    names: set[str] = set()
    for _ in range(20):
        process = context.Process(target=train_for_ever, args=(str(tmp_path), 4096))
        last = tmp_path / "last.ckpt"
        before = last.stat().st_mtime_ns if last.exists() else 0
        process.start()
        while not last.exists() or last.stat().st_mtime_ns == before:
            assert process.is_alive()
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        for name, read in FINAL_NAMES.items():
            if (tmp_path / name).exists():
                names.add(name)
                read(tmp_path / name)
    assert names == set(FINAL_NAMES)
    toy = Toy(epochs=10**6, width=4096).complete(tmp_path, resume=True)
    start = read_checkpoint(tmp_path / "last.ckpt")["epoch"]
    stop_after(toy, start + 1)
    toy.run()
    assert toy.trainer.state.epoch == start + 1


def test_a_full_disk_stops_the_training_and_spares_the_earlier_model(tiny_disk: Path) -> None:
    save_network(nn.Linear(2, 2), tiny_disk / "model.pt")
    before = (tiny_disk / "model.pt").read_bytes()
    with pytest.raises(OutputError, match="ENOSPC") as caught:
        Toy(width=8192).complete(tiny_disk).run()
    assert "free space" in str(caught.value)
    assert (tiny_disk / "model.pt").read_bytes() == before
    assert sorted(path.name for path in tiny_disk.iterdir()) == [
        "curves.csv",
        "model.pt",
        "model.pt.lineage.json",
        "model_previous.pt",
        "model_previous.pt.lineage.json",
    ]


def test_the_lineage_goes_where_the_model_goes(tmp_path: Path) -> None:
    entry = Lineage("imagenet_resnet18", "BSD-3-Clause", True)
    models = tmp_path / "models"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    for lineage in ((entry,), ()):
        toy = Toy(epochs=1).attach()
        with torch.no_grad():
            toy.network[0].weight.mul_(1.0 + len(lineage))  # another start each time: nothing to inherit
        toy.attach(
            ValidateEvery(toy.evaluator),
            AtomicCheckpoint(str(models), *toy.parts(), toy.evaluator, lineage=lineage),
        )
        toy.run()
        assert lineage_of_file(models / "model.pt") == lineage
        assert json.loads((tmp_path / "configs" / "metadata.json").read_text())["weights_lineage"] == [
            parent.as_dict() for parent in lineage
        ]
    sidecar = json.loads((models / "model_previous.pt.lineage.json").read_text())
    assert sidecar["weights_lineage"] == [entry.as_dict()]


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_training_that_goes_on_from_the_present_model_inherits_its_lineage(tmp_path: Path, goes_on: bool) -> None:
    """As MONAI Label does: a loader fills the network at the start, and no source is named."""
    entry = Lineage("imagenet_vit_b_16_swag", "CC-BY-NC-4.0", False)
    toy = Toy(epochs=1)
    save_network(toy.network, tmp_path / "model.pt")
    record_lineage(tmp_path / "model.pt", [entry])
    if not goes_on:
        nn.init.normal_(toy.network[0].weight)
    toy.attach(ValidateEvery(toy.evaluator), AtomicCheckpoint(str(tmp_path), *toy.parts(), toy.evaluator))
    toy.run()
    assert lineage_of_file(tmp_path / "model.pt") == ((entry,) if goes_on else ())


def test_a_resumed_training_keeps_the_lineage_of_its_model(tmp_path: Path) -> None:
    entry = Lineage("imagenet_vit_b_16_swag", "CC-BY-NC-4.0", False)
    first = Toy(epochs=2)
    first.attach(ValidateEvery(first.evaluator))
    first.attach(AtomicCheckpoint(str(tmp_path), *first.parts(), first.evaluator, lineage=[entry]))
    stop_after(first, 1)
    first.run()
    Toy(epochs=2).complete(tmp_path, resume=True).run()
    assert lineage_of_file(tmp_path / "model.pt") == (entry,)


def test_a_model_never_stands_under_a_freer_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two files, the model that is there has at least its own ancestors beside it."""
    entry = Lineage("imagenet_vit_b_16_swag", "CC-BY-NC-4.0", False)
    seen: list[tuple[Lineage, ...]] = []

    def look(network: nn.Module, path: Path) -> None:
        seen.append(lineage_of_file(path))
        save_network(network, path)

    monkeypatch.setattr(checkpoint_module, "save_network", look)
    for old, new in (((), (entry,)), ((entry,), ())):
        toy = Toy(epochs=1)
        save_network(nn.Linear(2, 2), tmp_path / "model.pt")
        record_lineage(tmp_path / "model.pt", old)
        toy.attach(ValidateEvery(toy.evaluator))
        toy.attach(AtomicCheckpoint(str(tmp_path), *toy.parts(), toy.evaluator, lineage=new))
        seen.clear()
        toy.run()
        assert seen[0] == (entry,)
        assert lineage_of_file(tmp_path / "model.pt") == new


def test_a_resume_with_another_strategy_is_refused(tmp_path: Path) -> None:
    toy = Toy(epochs=2)
    toy.attach(ValidateEvery(toy.evaluator))
    toy.attach(AtomicCheckpoint(str(tmp_path), *toy.parts(), toy.evaluator, strategy="fine_tune"))
    stop_after(toy, 1)
    toy.run()
    again = Toy(epochs=2)
    again.attach(ResumeTraining(str(tmp_path), *again.parts(), resume=True, strategy="l2_sp"))
    with pytest.raises(ConfigError, match="strategy fine_tune there, l2_sp now"):
        again.run()


def test_diverged_weights_are_not_saved(tmp_path: Path) -> None:
    toy = Toy().attach()
    checkpoint = AtomicCheckpoint(str(tmp_path), *toy.parts(), toy.evaluator)
    toy.attach(ValidateEvery(toy.evaluator), checkpoint)
    with torch.no_grad():
        toy.network[3].weight[0, 0] = float("inf")
    toy.trainer.state.epoch, toy.trainer.state.best = 3, (0.5, 1)
    with pytest.raises(MedTLError, match=r"1 of 9 tensors after epoch 3.*--learning_rate"):
        checkpoint(toy.trainer)
    assert list(tmp_path.iterdir()) == []


def test_resume_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing to resume from"):
        Toy().complete(tmp_path, resume=True).run()


@pytest.mark.parametrize(
    "damage", ["truncated", "bit flip", "empty", "text", "pickle", "other content", "not a mapping"]
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    toy = Toy(epochs=1).complete(tmp_path)
    toy.run()
    path = tmp_path / "last.ckpt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "bit flip":
        content = bytearray(path.read_bytes())
        place = content.index(toy.network[3].weight.detach().numpy().tobytes())
        content[place] ^= 1
        path.write_bytes(content)
        assert torch.load(path, weights_only=True)["epoch"] == 1  # torch itself notices nothing
    elif damage == "pickle":
        torch.save({"network": Path("code that would run")}, path)
    elif damage == "other content":
        save_network(toy.network, path)
    elif damage == "not a mapping":
        torch.save(torch.zeros(3), path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"hello")
    with pytest.raises(WeightsError, match=r"checkpoint is damaged.*last\.ckpt"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"epochs": 8}, "4 epochs there, 8 now"), ({"lr": 0.02}, "other learning rates")],
)
def test_resume_with_other_settings_is_refused(tmp_path: Path, settings: dict, words: str) -> None:
    stopped = Toy().complete(tmp_path)
    stop_after(stopped, 2)
    stopped.run()
    with pytest.raises(ConfigError, match=words):
        Toy(**settings).complete(tmp_path, resume=True).run()


def test_resume_with_other_trainable_layers_is_refused(tmp_path: Path) -> None:
    Toy().complete(tmp_path).run()
    toy = Toy()
    groups = [{"params": [parameter]} for parameter in toy.network.parameters()]
    optimizer = torch.optim.Adam(groups, 0.01)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=0.9)
    with pytest.raises(ConfigError, match="other trainable layers"):
        toy.attach(ResumeTraining(str(tmp_path), toy.network, optimizer, schedule, resume=True)).run()


def test_resume_with_another_seed_is_refused(tmp_path: Path) -> None:
    Toy().complete(tmp_path).run()
    toy = Toy()
    with pytest.raises(ConfigError, match="seed 0 there, 5 now"):
        toy.attach(ResumeTraining(str(tmp_path), *toy.parts(), resume=True, seed=5)).run()


def test_resume_off_is_off_whatever_way_it_is_written(tmp_path: Path) -> None:
    Toy().complete(tmp_path).run()
    toy = Toy()
    toy.attach(ResumeTraining(str(tmp_path), *toy.parts(), resume="false")).run()  # type: ignore[arg-type]
    assert toy.trainer.state.epoch == 4
    with pytest.raises(ConfigError, match="resume"):
        ResumeTraining(str(tmp_path), *toy.parts(), resume="nein")  # type: ignore[arg-type]
