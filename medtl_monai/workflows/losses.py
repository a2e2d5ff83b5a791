"""Task losses with weights of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from torch import nn

from medtl_monai.errors import ConfigError


def weighted_cross_entropy(class_weights: Sequence[float], device: torch.device | str = "cpu") -> nn.CrossEntropyLoss:
    """Cross-entropy of classifiers; a case counts as much as the weight of its class says.

    Raises:
        ConfigError: weights that are not positive.
    """
    return nn.CrossEntropyLoss(weight=_weights(class_weights, device))


def weighted_dice_ce(class_weights: Sequence[float], device: torch.device | str = "cpu") -> DiceCELoss:
    """Dice over the batch plus cross-entropy, softmax inside, for labels ``(B, 1, ...)``; both parts weighted.

    Raises:
        ConfigError: weights that are not positive.
    """
    weight = _weights(class_weights, device)
    return DiceCELoss(to_onehot_y=True, softmax=True, batch=True, weight=weight)


def _weights(values: Sequence[float], device: torch.device | str) -> torch.Tensor:
    if not values or min(values) <= 0:
        raise ConfigError("class weights out of range", expected="a positive number per class", got=list(values))
    return torch.tensor([float(value) for value in values], device=device)
