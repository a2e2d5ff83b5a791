"""Inferers for training and for whole volumes, with a choice of precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.inferers import Inferer, sliding_window_inference
from monai.utils import BlendMode

from medtl_monai.inference.precision import forward_in


class PatchInferer(Inferer):
    """One forward pass over a batch of patches ``(B, C, H, W, D)``.

    Args:
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``; the output is float32 in any case.
    """

    def __init__(self, precision: str = "float32") -> None:
        self.precision = precision

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits ``(B, classes, H, W, D)``."""
        return forward_in(self.precision, inputs, partial(network, *args, **kwargs) if args or kwargs else network)


class VolumeInferer(Inferer):
    """Whole-volume inference: one forward pass where the volume fits the window, a sliding window where it does not.

    A window larger than the volume would be filled with zeros, which costs time and shifts instance norm; a volume that
    fits goes through the network at its own size.

    Args:
        roi_size: window in voxels.
        overlap: overlap of neighbouring windows, 0 to below 1.
        sw_batch_size: windows per forward pass.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        sw_batch_size: int = 1,
        precision: str = "float32",
    ) -> None:
        self.roi_size = tuple(roi_size)
        self.overlap = float(overlap)
        self.sw_batch_size = int(sw_batch_size)
        self.precision = precision

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits ``(B, classes, H, W, D)`` for volumes ``(B, C, H, W, D)``."""
        forward = partial(forward_in, self.precision, network=network)
        size = inputs.shape[2:]
        if all(length <= window for length, window in zip(size, self.roi_size, strict=True)):
            return forward(inputs)
        window = [min(length, roi) for length, roi in zip(size, self.roi_size, strict=True)]
        output = sliding_window_inference(
            inputs, window, self.sw_batch_size, forward, overlap=self.overlap, mode=BlendMode.GAUSSIAN
        )
        return torch.as_tensor(output)
