"""OpenVINO as a backend of frozen features: an optional package, float32, on the CPU, without usage statistics."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.transfer.feature_backends import EAGER, Computed, frozen_trace, quiet_trace

_TELEMETRY = "openvino_telemetry"


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """The package that reports every import and conversion to OpenVINO's makers cannot be imported meanwhile."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to make an import fail
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def import_openvino() -> ModuleType:
    """The package `openvino`; if this process imports it here first, it sends no usage statistics.

    Raises:
        ConfigError: it is not installed or does not start.
    """
    try:
        with _no_telemetry():
            return importlib.import_module("openvino")
    except ImportError as error:
        raise ConfigError(
            "the backend 'openvino' needs the package openvino",
            expected="openvino installed",
            got=str(error),
            remedy=f"pip install 'medtl-monai[openvino]', or {EAGER}",
        ) from error


def compiled(module: nn.Module, image: torch.Tensor) -> Computed:
    """`module` compiled by OpenVINO for batches shaped like `image`, ``(B, C, H, W[, D])`` float32 on the CPU.

    It uses as many threads as torch does now. Weights are copied.

    Raises:
        ConfigError: openvino is not installed, or cannot run this network, precision or device.
    """
    openvino = import_openvino()
    if image.device.type != "cpu" or image.dtype != torch.float32:
        raise ConfigError(
            "the backend 'openvino' computes on the CPU in float32",
            expected="an encoder with float32 weights on the CPU",
            got=f"{image.dtype} on {image.device}",
            remedy=EAGER,
        )
    trace = frozen_trace(copy.deepcopy(module), image)
    request = _request(openvino, trace, image)

    def compute(batch: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.array(request.infer([batch.contiguous().numpy()])[0]))  # its own buffer is reused

    return compute


def _request(openvino: ModuleType, trace: torch.jit.ScriptModule, image: torch.Tensor) -> Any:
    """What runs the trace; float32 is said aloud, because a CPU with bfloat16 would otherwise use it."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    frontend = openvino.frontend
    refusals = (RuntimeError, frontend.OpConversionFailure, frontend.OpValidationFailure, frontend.GeneralFailure)
    try:
        with _no_telemetry(), quiet_trace():
            model = openvino.convert_model(trace, example_input=image, input=list(image.shape))
        return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    except refusals as error:
        raise ConfigError(
            "OpenVINO cannot run this encoder",
            expected="an encoder whose operations OpenVINO knows",
            got=" ".join(str(error).split("Summary:")[-1].split())[-300:],
            remedy=EAGER,
        ) from error
