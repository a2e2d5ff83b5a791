"""Weighted losses against their formulas."""

from __future__ import annotations

import pytest
import torch

from medtl_monai.errors import ConfigError
from medtl_monai.workflows.losses import weighted_cross_entropy, weighted_dice_ce


def test_cross_entropy_is_the_weighted_mean() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    truth, weights = torch.tensor([0, 1, 2, 2, 1, 0]), [1.0, 2.0, 5.0]
    each = -logits.log_softmax(1)[range(6), truth]
    factor = torch.tensor(weights)[truth]
    expected = (each * factor).sum() / factor.sum()
    assert torch.allclose(weighted_cross_entropy(weights)(logits, truth), expected)


def test_dice_and_cross_entropy_with_weights() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (2, 1, 4, 5), generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([1.0, 2.0, 5.0])
    probabilities, onehot = logits.softmax(1), torch.nn.functional.one_hot(truth[:, 0], 3).movedim(-1, 1)
    both = (probabilities * onehot).sum((0, 2, 3))
    dice = 1 - (2 * both + 1e-5) / (probabilities.sum((0, 2, 3)) + onehot.sum((0, 2, 3)) + 1e-5)
    each = -torch.gather(logits.log_softmax(1), 1, truth)
    factor = weights[truth]
    expected = (dice * weights).mean() + (each * factor).sum() / factor.sum()
    assert torch.allclose(weighted_dice_ce(weights.tolist())(logits, truth), expected, atol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="class weights"):
        weighted_cross_entropy([1.0, 0.0])
