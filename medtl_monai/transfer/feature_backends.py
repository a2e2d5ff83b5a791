"""What computes frozen features: torch as it is, a frozen trace of it, or OpenVINO; never other features."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from medtl_monai.errors import ConfigError

TOLERANCE = 1e-4  # of the largest feature
EAGER = 'backend="eager", which runs every encoder'
Computed = Callable[[torch.Tensor], torch.Tensor]
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@contextmanager
def quiet_trace() -> Iterator[None]:
    """Without the tracer's warnings: every shape has a trace of its own, compared before use; constants are right."""
    with warnings.catch_warnings():
        for category in (torch.jit.TracerWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield


def frozen_trace(module: nn.Module, image: torch.Tensor) -> torch.jit.ScriptModule:
    """A frozen TorchScript trace of `module`, in evaluation mode, for batches shaped like `image`.

    Raises:
        ConfigError: the network cannot be traced.
    """
    try:
        with quiet_trace():
            return torch.jit.freeze(torch.jit.trace(module.eval(), image, check_trace=False))
    except RuntimeError as error:
        raise ConfigError(
            "this encoder cannot be traced",
            expected="an encoder that TorchScript can trace",
            got=str(error).strip().splitlines()[-1],
            remedy=EAGER,
        ) from error


def traced(module: nn.Module, image: torch.Tensor) -> Computed:
    """A trace of a channels-last copy of `module`, optimised for inference, for batches shaped like `image`.

    Raises:
        ConfigError: the network cannot be traced.
    """
    layout = _CHANNELS_LAST[image.dim() - 2]
    duplicate = copy.deepcopy(module)
    for tensor in itertools.chain(duplicate.parameters(), duplicate.buffers()):
        if tensor.dim() == image.dim():
            tensor.data = tensor.data.contiguous(memory_format=layout)
    trace = frozen_trace(duplicate, image.contiguous(memory_format=layout))
    with quiet_trace():
        fast = torch.jit.optimize_for_inference(trace)
    return lambda batch: fast(batch.contiguous(memory_format=layout))


def require_equal(fast: torch.Tensor, plain: torch.Tensor, backend: str) -> None:
    """Raise ConfigError unless features of a backend are within TOLERANCE of the largest of torch's own."""
    difference, largest = float((fast.float() - plain.float()).abs().max()), float(plain.abs().max())
    if not difference <= TOLERANCE * largest:
        raise ConfigError(
            f"the backend {backend!r} gives other features than the encoder itself",
            expected=f"within {TOLERANCE:g} of the largest feature, {largest:g}",
            got=f"a difference of {difference:g}",
            remedy=EAGER,
        )
