"""Convolutions that PyTorch gets wrong in bfloat16 on a CPU, computed in float32 instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (torch.conv3d, torch.conv_transpose3d)


class ThinMapsInFloat32(TorchFunctionMode):
    """Inside, 3D convolutions that are to be trained run in float32 where the map is no deeper than the kernel.

    Measured with PyTorch 2.15 on a CPU with AVX-512: in bfloat16 the gradient of the weights of a 3x3x3 convolution on a
    map of extent 2 along the first spatial axis is read from memory that nobody wrote (5x5x5: up to 4; 7x7x7: up to 7,
    with a heap corruption), so that a training does not repeat, and sooner or later is NaN. Output and the gradient of
    the input are right, and so is everything in 2D. Such maps are small, so float32 costs next to nothing there.
    ``benchmarks/thin_maps.py`` shows it.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, in float32 where it would go wrong."""
        named = kwargs or {}
        if func in _CONVOLUTIONS and torch.is_grad_enabled() and _is_thin(*args[:2]):
            with torch.autocast(args[0].device.type, enabled=False):
                return func(*map(_float32, args), **{name: _float32(value) for name, value in named.items()})
        return func(*args, **named)


def _is_thin(image: torch.Tensor, weight: torch.Tensor) -> bool:
    return weight.shape[2] > 1 and image.shape[2] <= weight.shape[2]


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
