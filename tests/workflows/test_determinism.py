"""Same seed, same weights; stopped and resumed, still the same weights. MONAI's own resume is run beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.handlers import CheckpointLoader, CheckpointSaver
from toy import Toy, same, stop_after

from medtl_monai.workflows.checkpoint_files import read_checkpoint
from medtl_monai.workflows.determinism import EpochSeed, epoch_seed
from medtl_monai.workflows.validation import ValidateEvery


def test_epoch_seeds_are_pure_valid_and_distinct() -> None:
    seeds = [epoch_seed(seed, epoch) for seed in range(40) for epoch in range(1, 51)]
    assert seeds == [epoch_seed(seed, epoch) for seed in range(40) for epoch in range(1, 51)]
    assert all(0 <= seed < 2**31 for seed in seeds)  # numpy's RandomState takes up to 2**32 - 1
    assert len(set(seeds)) == len(seeds)


def test_same_seed_gives_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    first, second = (Toy().complete(tmp_path / str(number), seed=3).run() for number in range(2))
    assert same(first, second)
    assert not same(first, Toy().complete(tmp_path / "other", seed=4).run())


def test_the_random_state_left_by_earlier_work_does_not_matter(tmp_path: Path) -> None:
    first = Toy().complete(tmp_path / "a").run()
    toy = Toy().complete(tmp_path / "b")
    torch.rand(17), np.random.rand(5), toy.transform.set_random_state(seed=99)
    assert same(first, toy.run())


@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, workers: int) -> None:
    whole = Toy(workers=workers).complete(tmp_path / "whole").run()
    stopped = Toy(workers=workers).complete(tmp_path / "parts")
    stop_after(stopped, 2)
    assert not same(whole, stopped.run())
    assert read_checkpoint(tmp_path / "parts" / "last.ckpt")["epoch"] == 2
    resumed = Toy(workers=workers).complete(tmp_path / "parts", resume=True).run()
    assert same(whole, resumed)
    for name in ("model.pt", "last.ckpt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def monai_training(folder: Path, load: Path | None = None) -> Toy:
    """The same training with MONAI's checkpoint handlers; seeded as its documentation advises."""
    from monai.utils import set_determinism

    set_determinism(0)
    toy = Toy()
    toy.transform.set_random_state(seed=0)
    content = {"net": toy.network, "opt": toy.optimizer, "lr": toy.lr_scheduler, "trainer": toy.trainer}
    toy.attach(ValidateEvery(toy.evaluator), toy.schedule())
    if load is not None:
        toy.attach(CheckpointLoader(str(load), content))
    return toy.attach(CheckpointSaver(str(folder), content, save_interval=1, epoch_level=True))


def test_monai_checkpoints_resume_to_other_weights(tmp_path: Path) -> None:
    whole = monai_training(tmp_path / "whole").run()
    assert same(whole, monai_training(tmp_path / "again").run())  # uninterrupted, MONAI repeats exactly
    stopped = monai_training(tmp_path / "parts")
    stop_after(stopped, 2)
    stopped.run()
    (saved,) = (tmp_path / "parts").glob("*epoch=2.pt")
    resumed = monai_training(tmp_path / "resumed", saved)
    weights = resumed.run()
    assert resumed.trainer.state.epoch == 4
    assert max(float((weights[name] - whole[name]).abs().max()) for name in whole) > 1e-4


def test_without_the_epoch_seed_a_resume_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpochSeed, "attach", lambda self, engine: None)  # the defect that the handler removes
    whole = Toy().complete(tmp_path / "whole").run()
    stopped = Toy().complete(tmp_path / "parts")
    stop_after(stopped, 2)
    stopped.run()
    assert not same(whole, Toy().complete(tmp_path / "parts", resume=True).run())
