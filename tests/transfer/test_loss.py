"""The loss with what a strategy adds: exactly the loss without a penalty, and the sum of both with one."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.loss import TransferLoss
from medtl_monai.transfer.regularize import L2SP
from medtl_monai.transfer.strategy import STRATEGIES, build_optimizer

WITHOUT = [name for name in STRATEGIES if name not in ("l2_sp", "bss")]


class Fixed(nn.Module):
    """A loss that gives one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.tensor(2.5, requires_grad=True)

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.value


@pytest.mark.parametrize("strategy", [*WITHOUT, "freeze_to_down1"])
def test_without_a_penalty_it_is_the_loss_itself(strategy: str) -> None:
    loss = Fixed()
    total = TransferLoss(loss, build_network("unet"), strategy)
    assert total(torch.zeros(1), torch.zeros(1)) is loss.value
    assert {name: float(value) for name, value in total.last_parts.items()} == {"loss": 2.5}
    assert list(total.parameters()) == []


def test_loss_and_penalty_add_up() -> None:
    network = build_network("unet")
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    total = TransferLoss(loss, network, "l2_sp")
    optimizer = build_optimizer(network, strategy="l2_sp", lr=0.01)
    image, label = torch.randn(2, 1, 16, 16, 16), torch.randint(0, 2, (2, 1, 16, 16, 16))
    for step in range(3):
        assert isinstance(total.penalty, L2SP)
        assert (total.penalty.shared().item() == 0) == (step == 0)
        pred = network(image)
        value = total(pred, label)
        expected = loss(pred, label) + total.penalty()
        assert value.item() == pytest.approx(expected.item(), rel=1e-6)
        assert sum(float(part) for part in total.last_parts.values()) == pytest.approx(value.item(), rel=1e-6)
        assert all(not part.requires_grad for part in total.last_parts.values())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def test_a_loss_per_case_keeps_its_mean() -> None:
    """MONAI's trainer takes the mean of what the loss gives."""
    network = build_network("unet")
    pred, label = torch.randn(3, 2, 4, 4, 4), torch.randint(0, 2, (3, 4, 4, 4))
    total = TransferLoss(nn.CrossEntropyLoss(reduction="none"), network, "l2_sp")
    value = total(pred, label)
    assert value.shape == (3, 4, 4, 4)
    wanted = nn.functional.cross_entropy(pred, label) + total.last_parts["penalty"]
    assert value.mean().item() == pytest.approx(wanted.item(), rel=1e-5)
    assert float(total.last_parts["loss"]) == pytest.approx(nn.functional.cross_entropy(pred, label).item(), rel=1e-5)


def test_bss_with_a_classifier() -> None:
    network = build_network("classifier_squeezenet1_0")
    total = TransferLoss(nn.CrossEntropyLoss(), network, "bss")
    image, target = torch.rand(3, 1, 48, 48), torch.tensor([0, 1, 1])
    value = total(network(image), target)
    value.backward()
    assert float(total.last_parts["penalty"]) > 0
    assert value.item() == pytest.approx(sum(float(part) for part in total.last_parts.values()), rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="classifier_<encoder>"):
        TransferLoss(Fixed(), build_network("unet"), "bss")
    with pytest.raises(ConfigError, match="did you mean 'l2_sp'"):
        TransferLoss(Fixed(), build_network("unet"), "l2-sp")
    with pytest.raises(ConfigError, match="network with stages"):
        TransferLoss(Fixed(), nn.Linear(2, 2), "l2_sp")
