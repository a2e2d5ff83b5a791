"""Padding of an image to the sizes that an encoder can work on."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def pad_to(image: torch.Tensor, multiple: list[int], minimum: list[int]) -> torch.Tensor:
    """``image`` ``(B, C, H, W[, D])`` padded at the far end of every axis, with its own edge values.

    Each length becomes the smallest multiple of ``multiple`` that is at least ``minimum`` (both one value per spatial
    axis). An image that fits already is returned as it is.
    """
    padding: list[int] = []
    needed = False
    for axis in range(len(multiple) - 1, -1, -1):  # F.pad wants the last axis first
        length = image.shape[axis + 2]
        wanted = max(length, minimum[axis])
        wanted = (wanted + multiple[axis] - 1) // multiple[axis] * multiple[axis]
        padding.append(0)
        padding.append(wanted - length)
        needed = needed or wanted > length
    if not needed:
        return image
    return F.pad(image, padding, mode="replicate")


def add_margin(image: torch.Tensor, margin: list[int]) -> torch.Tensor:
    """``image`` ``(B, C, H, W[, D])`` with edge values around it; ``margin`` as ``F.pad`` takes it."""
    if max(margin) == 0:
        return image
    return F.pad(image, margin, mode="replicate")


def crop_to(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The near corner of ``image`` ``(B, C, ...)`` in the spatial size of ``like``: what :func:`pad_to` added goes."""
    for axis in range(2, like.dim()):
        image = image.narrow(axis, 0, like.shape[axis])
    return image
