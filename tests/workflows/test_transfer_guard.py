"""The guard's verdict and its command line; a whole guarded training is in the tests of the bundles."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Engine

from medtl_monai.errors import ConfigError
from medtl_monai.workflows.transfer_guard import _without, guarded_run, verdict


@pytest.mark.parametrize(
    ("transfer", "scratch", "kept"), [(0.8, 0.7, "transfer"), (0.7, 0.8, "scratch"), (0.8, 0.8, "transfer")]
)
def test_the_better_one_is_kept(transfer: float, scratch: float, kept: str) -> None:
    found = verdict(transfer, scratch, 18)
    assert found.kept == kept
    assert f"{transfer:.4f} and {scratch:.4f}, 18 cases" in found.sentence
    assert ("negative transfer" in found.sentence) == (kept == "scratch")
    assert "no proof" in found.sentence


def test_options_are_taken_out_of_a_command_line_in_both_spellings() -> None:
    words = ["run", "--source", "a b", "--epochs=3", "--guard=true", "--resume", "--seed", "-1", "--labelled", "4"]
    assert _without(words, ["--source", "--guard", "--resume"]) == [
        "run",
        "--epochs=3",
        "--seed",
        "-1",
        "--labelled",
        "4",
    ]


def test_without_a_command_line_nothing_is_trained(tmp_path: Path) -> None:
    trained: list[int] = []
    trainer = Engine(lambda _engine, batch: trained.append(batch))
    knobs = {"network": "unet", "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path)}
    with pytest.raises(ConfigError, match="repeats the training's command line"):
        guarded_run(trainer, guard=True, source="model.pt", **knobs)
    assert trained == []
    trainer.run = lambda: trained.append(1)  # type: ignore[method-assign]  # an engine without data
    guarded_run(trainer, guard=True, source="scratch", **knobs)
    guarded_run(trainer, guard=False, source="model.pt", **knobs)
    assert trained == [1, 1]
