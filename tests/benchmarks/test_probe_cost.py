"""The cost benchmark: both of its sides train the same head, and its images are what they should be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from medtl_monai.networks.transfer_classifier import TransferClassifier
from tests.networks.toy_encoder import ToyEncoder


@pytest.fixture(scope="module")
def cost(project: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        yield import_module("probe_cost")
        for name in [name for name in sys.modules if name.split(".")[0] in ("probes", "probe_cost")]:
            del sys.modules[name]


@pytest.fixture
def task(cost: ModuleType) -> object:
    torch.manual_seed(0)
    images, labels = torch.rand(12, 1, 16, 16), torch.arange(12) % 2
    return cost.Task("toy", TransferClassifier(ToyEncoder(2)), images, labels, images, labels, batch=4, whole=True)


def test_both_sides_train_the_same_head(cost: ModuleType, task: object) -> None:
    found = cost.compare(task, "traced", 2, np.zeros(2))
    assert len(found["every_epoch"]["seconds"]) == cost.EPOCHS
    assert found["largest_loss_difference"] < 2e-7
    assert found["test_correct_once"] == found["test_correct_every_epoch"]
    for row in json.loads(json.dumps(cost.plain(found)))["once"]:
        wall, processor = row["seconds"]
        assert wall == pytest.approx(sum(part[0] for part in row["parts"].values()), rel=1e-3)
        assert processor == pytest.approx(sum(part[1] for part in row["parts"].values()), rel=1e-3)
        assert row["parts"]["extraction_with_building"][0] > row["extraction_when_built"][0] > 0


def test_another_order_or_start_is_seen(cost: ModuleType, task: object) -> None:
    """Planted: were the sides not the same training, the losses would say so."""
    task.orders[2] = list(reversed(task.orders[2]))
    shuffled = cost.once(task, "eager", np.zeros(2))[1]["losses"]
    task.orders[2] = list(reversed(task.orders[2]))
    straight = cost.once(task, "eager", np.zeros(2))[1]["losses"]
    assert shuffled[:2] == straight[:2]
    assert max(abs(a - b) for a, b in zip(shuffled, straight, strict=True)) > 1e-6


def test_every_epoch_sees_every_image_once(task: object) -> None:
    for order in task.orders:
        assert sorted(torch.cat(order).tolist()) == list(range(12))
    assert task.orders[0][0].tolist() != task.orders[1][0].tolist()


def test_crops_are_cut_and_padded_around_the_centre(cost: ModuleType) -> None:
    cut = sys.modules["probes.cost_tasks"]._cut
    scan = torch.arange(36 * 50 * 30, dtype=torch.float32).reshape(36, 50, 30)
    found = cut(scan)
    assert found.shape == (32, 32, 32)
    assert torch.equal(found[:, :, 1:31], scan[2:34, 9:41])
    assert not found[:, :, [0, 31]].any()
