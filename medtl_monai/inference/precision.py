"""Numerical precision of the forward pass, chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch

from medtl_monai.errors import ConfigError
from medtl_monai.inference.thin_maps import ThinMaps

PRECISIONS = ("float32", "bfloat16", "auto")


def require_precision(precision: str) -> None:
    """Raise ConfigError unless a precision is in :data:`PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ConfigError("unknown precision", expected="one of " + ", ".join(PRECISIONS), got=precision)


def resolve_precision(precision: str, device: torch.device) -> str:
    """``"float32"`` or ``"bfloat16"``; ``"auto"`` means bfloat16 where the processor has instructions for it.

    Raises:
        ConfigError: a name that is not in :data:`PRECISIONS`.
    """
    require_precision(precision)
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device.type != "cpu":
        return "float32"
    # torch has no public question for this; without the instructions bfloat16 is emulated and slower than float32
    has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if has_bfloat16 is not None and has_bfloat16() else "float32"


def forward_in(precision: str, image: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """``network(image)`` computed in a precision, returned as float32.

    MONAI's engines know mixed precision on CUDA only; this works on every device that has autocast. On a CPU some
    convolutions of a training have a precision of their own, see :class:`ThinMaps`.
    """
    with ExitStack() as contexts:
        if resolve_precision(precision, image.device) == "bfloat16":
            contexts.enter_context(torch.autocast(image.device.type, dtype=torch.bfloat16))
        if image.device.type == "cpu":
            contexts.enter_context(ThinMaps())
        output = network(image)
    return output.float()
