"""Re-estimated batch norm statistics in a real training: exact, only on request, and not on a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from toy import Toy, images

from medtl_monai.errors import ConfigError
from medtl_monai.workflows.norm import ReestimateNorm


def at_first_step(toy: Toy) -> torch.Tensor:
    """Run, and return the running mean just before the first step."""
    seen: list[torch.Tensor] = []
    toy.trainer.add_event_handler(
        Events.EPOCH_STARTED(once=1), lambda _: seen.append(toy.network[1].running_mean.clone())
    )
    toy.trainer.run()
    return seen[0]


def exact_mean(toy: Toy) -> torch.Tensor:
    """Mean of the first convolution's output over all training voxels, before any training."""
    volumes = torch.stack([torch.as_tensor(case["image"]) for case in images()])
    with torch.no_grad():
        return toy.network[0](volumes).mean(dim=(0, 2, 3, 4))


def plain() -> Toy:
    """A toy training without random transforms."""
    toy = Toy(epochs=1)
    toy.trainer.data_loader = DataLoader(Dataset(images()), batch_size=2)
    return toy


@pytest.mark.parametrize("enabled", [True, "true"])
def test_statistics_are_those_of_the_training_images(enabled: object) -> None:
    toy = plain()
    expected = exact_mean(toy)
    toy.attach(ReestimateNorm(toy.network, enabled))
    assert torch.allclose(at_first_step(toy), expected, atol=1e-6)
    assert expected.abs().max() > 1e-3


def test_without_the_request_nothing_changes() -> None:
    toy = plain()
    toy.attach(ReestimateNorm(toy.network))
    assert torch.equal(at_first_step(toy), torch.zeros(2))


def test_a_resumed_training_keeps_its_statistics(tmp_path: Path) -> None:
    Toy(epochs=2).complete(tmp_path).run()
    toy = Toy(epochs=2)
    toy.trainer.state.epoch = 1
    handler = ReestimateNorm(toy.network, True)
    before = toy.network[1].running_mean.clone()
    handler(toy.trainer)
    assert torch.equal(toy.network[1].running_mean, before)


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="'reestimate_norm' is on or off"):
        ReestimateNorm(Toy().network, "perhaps")
