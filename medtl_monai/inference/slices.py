"""A 2D network on volumes: slice by slice, the result a volume again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.inferers import Inferer

from medtl_monai.errors import ConfigError
from medtl_monai.inference.inferers import Network, bound
from medtl_monai.inference.mirrored import averaged_over_mirrors
from medtl_monai.inference.precision import forward_in, require_precision
from medtl_monai.switch import switch


class SlicewiseInferer(Inferer):
    """Every slice of a volume through a 2D network, at its own size.

    Args:
        axis: spatial axis of the volume whose positions are the slices: 0, 1 or 2.
        batch_size: slices per forward pass.
        precision: ``"float32"``, ``"bfloat16"`` or ``"auto"``.
        mirror_axes, mirrored: as for :class:`medtl_monai.inference.inferers.VolumeInferer`; axes of the volume.

    Raises:
        ConfigError: one of them is out of its range; in a call, an input that is no volume.
    """

    def __init__(
        self,
        axis: int = 0,
        batch_size: int = 16,
        precision: str = "float32",
        mirror_axes: Sequence[int] = (),
        mirrored: bool = False,
    ) -> None:
        require_precision(precision)
        if axis not in (0, 1, 2) or batch_size < 1:
            got = f"axis {axis}, batch_size {batch_size}"
            raise ConfigError("slices out of range", expected="axis 0, 1 or 2, and 1 slice or more", got=got)
        self.axis, self.batch_size, self.precision = axis, int(batch_size), precision
        self.mirror_axes = tuple(mirror_axes) if switch("mirrored", mirrored) else ()

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits ``(B, classes, H, W, D)`` for volumes ``(B, C, H, W, D)``; further arguments go to the network."""
        if inputs.dim() != 5:
            raise ConfigError("not a volume", expected="(B, C, H, W, D)", got=tuple(inputs.shape))
        forward = partial(forward_in, self.precision, network=bound(network, args, kwargs))
        return averaged_over_mirrors(inputs, lambda volume: self._through(volume, forward), self.mirror_axes)

    def _through(self, volume: torch.Tensor, forward: Network) -> torch.Tensor:
        slices = volume.movedim(self.axis + 2, 1)  # (B, S, C, H, W)
        parts = [forward(chunk) for chunk in slices.flatten(0, 1).split(self.batch_size)]
        return torch.cat(parts).unflatten(0, slices.shape[:2]).movedim(1, self.axis + 2)
