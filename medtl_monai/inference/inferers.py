"""Inferers for training and for whole volumes, with a choice of precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.inferers import Inferer, sliding_window_inference
from monai.utils import BlendMode

from medtl_monai.errors import ConfigError
from medtl_monai.inference.mirrored import averaged_over_mirrors
from medtl_monai.inference.precision import forward_in, require_precision
from medtl_monai.switch import switch

Network = Callable[..., torch.Tensor]


def bound(network: Network, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """``network`` with further arguments after the image, as MONAI's engines pass them to an inferer."""
    return (lambda image: network(image, *args, **kwargs)) if args or kwargs else network


class PatchInferer(Inferer):
    """One forward pass over a batch of patches ``(B, C, H, W, D)``.

    Args:
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``; the output is float32 in any case.

    Raises:
        ConfigError: an unknown precision.
    """

    def __init__(self, precision: str = "float32") -> None:
        require_precision(precision)
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits ``(B, classes, H, W, D)``; further arguments go to the network, after the image."""
        return forward_in(self.precision, inputs, bound(network, args, kwargs))


class VolumeInferer(Inferer):
    """Whole-volume inference: one forward pass where the volume fits the window, a sliding window where it does not.

    A window larger than the volume would be filled with zeros, which costs time and shifts instance norm; a volume that
    fits goes through the network at its own size.

    Args:
        roi_size: window in voxels.
        overlap: overlap of neighbouring windows, 0 to below 1.
        sw_batch_size: windows per forward pass.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
        mirror_axes: spatial axes along which mirror images are judged too if ``mirrored`` is set, and the logits
            averaged: those along which the network was trained with mirror images.
        mirrored: judge the mirror images too; as many times the work as there are combinations of the axes.

    Raises:
        ConfigError: one of them is out of its range; in a call, a volume with another number of axes than the window.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        sw_batch_size: int = 1,
        precision: str = "float32",
        mirror_axes: Sequence[int] = (),
        mirrored: bool = False,
    ) -> None:
        require_precision(precision)
        self.mirror_axes = tuple(mirror_axes) if switch("mirrored", mirrored) else ()
        if not roi_size or min(roi_size) < 1 or not 0.0 <= overlap < 1.0 or sw_batch_size < 1:
            raise ConfigError(
                "window out of range",
                expected="roi_size and sw_batch_size of 1 or more, 0 <= overlap < 1",
                got=f"roi_size {tuple(roi_size)}, sw_batch_size {sw_batch_size}, overlap {overlap}",
            )
        self.roi_size = tuple(roi_size)
        self.overlap = float(overlap)
        self.sw_batch_size = int(sw_batch_size)
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits ``(B, classes, H, W, D)`` for volumes ``(B, C, H, W, D)``; further arguments go to the network."""
        forward = partial(forward_in, self.precision, network=bound(network, args, kwargs))
        size = inputs.shape[2:]
        if len(size) != len(self.roi_size):
            raise ConfigError("volume does not suit the window", expected=self.roi_size, got=tuple(size))
        return averaged_over_mirrors(inputs, lambda volume: self._whole(volume, forward), self.mirror_axes)

    def _whole(self, volume: torch.Tensor, forward: Network) -> torch.Tensor:
        size = volume.shape[2:]
        if all(length <= window for length, window in zip(size, self.roi_size, strict=True)):
            return forward(volume)
        window = [min(length, roi) for length, roi in zip(size, self.roi_size, strict=True)]
        output = sliding_window_inference(
            volume, window, self.sw_batch_size, forward, overlap=self.overlap, mode=BlendMode.GAUSSIAN
        )
        return torch.as_tensor(output)
