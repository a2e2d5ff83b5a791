"""2D convolution weights made into 3D ones; depth is the last axis."""

from __future__ import annotations

import torch

from medtl_monai.errors import WeightsError


def centre_tap(depth: int) -> int:
    """Index of the middle of ``depth`` kernel taps; of the two middle ones of an even number, the first."""
    return (depth - 1) // 2


def _require(weight: torch.Tensor, depth: int) -> None:
    if weight.dim() != 4 or depth < 1:
        raise WeightsError(
            "this weight cannot be inflated",
            expected="a 2D convolution weight (out, in, kh, kw) and a depth of at least 1",
            got=f"shape {tuple(weight.shape)} and depth {depth}",
        )


def inflate_mean(weight: torch.Tensor, depth: int) -> torch.Tensor:
    """The 2D kernel ``(o, i, kh, kw)`` in each of ``depth`` slices, divided by ``depth``: ``(o, i, kh, kw, depth)``.

    I3D, Carreira & Zisserman 2017, arXiv:1705.07750. The sum over depth is the 2D kernel, so an image repeated along
    depth gives what the 2D convolution gives. Raises WeightsError unless ``weight`` has 4 axes and ``depth >= 1``.
    """
    _require(weight, depth)
    return (weight / depth).unsqueeze(-1).repeat(1, 1, 1, 1, depth)


def inflate_centre(weight: torch.Tensor, depth: int) -> torch.Tensor:
    """The 2D kernel ``(o, i, kh, kw)`` in the middle of ``depth`` slices, zeros elsewhere: ``(o, i, kh, kw, depth)``.

    Every slice starts as the 2D network sees it; mixing along depth is left to training. The slice that is filled is
    :func:`centre_tap`. Raises WeightsError unless ``weight`` has 4 axes and ``depth >= 1``.
    """
    _require(weight, depth)
    inflated = weight.new_zeros((*weight.shape, depth))
    inflated[..., centre_tap(depth)] = weight
    return inflated


def append_axis(scale: torch.Tensor) -> torch.Tensor:
    """A factor per channel ``(C, 1, 1)`` with one axis more for depth: ``(C, 1, 1, 1)``.

    Raises WeightsError unless the shape is ``(C, 1, 1)``.
    """
    if scale.dim() != 3 or scale.shape[1:] != (1, 1):
        raise WeightsError("this is no factor per channel", expected="shape (C, 1, 1)", got=tuple(scale.shape))
    return scale.unsqueeze(-1)
