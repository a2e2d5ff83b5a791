"""Convolutions whose gradient PyTorch gets wrong on a CPU, computed with more digits instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (torch.conv3d, torch.conv_transpose3d)
_LARGE = 7


class ThinMaps(TorchFunctionMode):
    """Inside, 3D convolutions to be trained whose map is no deeper than their kernel are computed in another precision.

    Measured with PyTorch 2.15 on a CPU with AVX-512 (``benchmarks/thin_maps.py``): in bfloat16 the gradient of the
    weights of a 3x3x3 convolution on a map of extent 2 along the first spatial axis is read from memory that nobody
    wrote (5x5x5: extents 2 to 4; 7x7x7: 2 to 6), so that a training does not repeat, and sooner or later is NaN. With
    7x7x7 and stride 2 float32 is wrong too, at extents 5 to 7; some of these end in a crash. Output and the gradient of
    the input are right, and so is everything in 2D. Here such maps go through float32, with a kernel of 7 and more
    through float64, which has another implementation. They are small, so that costs next to nothing.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, in another precision where it would go wrong."""
        named = kwargs or {}
        if func not in _CONVOLUTIONS or not torch.is_grad_enabled():
            return func(*args, **named)
        image, weight = args[0] if args else named["input"], args[1] if len(args) > 1 else named["weight"]
        if not _is_thin(image, weight):
            return func(*args, **named)
        device, kind = image.device.type, image.dtype
        mixed = torch.is_autocast_enabled(device)
        precision = torch.float64 if weight.shape[2] >= _LARGE else torch.float32
        with torch.autocast(device, enabled=False):
            changed = {name: _in(precision, value) for name, value in named.items()}
            output = func(*(_in(precision, value) for value in args), **changed)
        return output.float() if mixed else output.to(kind)


def _is_thin(image: torch.Tensor, weight: torch.Tensor) -> bool:
    return weight.shape[2] > 1 and image.shape[-3] <= weight.shape[2]


def _in(precision: torch.dtype, value: Any) -> Any:
    return value.to(precision) if isinstance(value, torch.Tensor) else value
