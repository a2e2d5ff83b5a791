"""Test-time augmentation by mirroring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import torch

from medtl_monai.errors import ConfigError


def averaged_over_mirrors(
    image: torch.Tensor, forward: Callable[[torch.Tensor], torch.Tensor], axes: Sequence[int]
) -> torch.Tensor:
    """Mean of the logits of an image and of its mirror images, each mirrored back.

    Args:
        image: ``(B, C, H, W[, D])``.
        forward: gives logits ``(B, classes, H, W[, D])``.
        axes: spatial axes (0 is the first after the channels); every combination of them is one mirror image. Without
            any it is the plain forward pass.

    Raises:
        ConfigError: an axis that the image does not have, or one twice.
    """
    if len(set(axes)) < len(axes) or not set(axes) <= set(range(image.dim() - 2)):
        raise ConfigError(
            "no such axes to mirror", expected=f"different ones of 0 to {image.dim() - 3}", got=list(axes)
        )
    choices = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    total: torch.Tensor | None = None
    for chosen in choices:
        dims = [axis + 2 for axis in chosen]
        logits = forward(image.flip(dims)).flip(dims) if dims else forward(image)
        total = logits if total is None else total + logits
    return torch.as_tensor(total) / 2 ** len(axes)
