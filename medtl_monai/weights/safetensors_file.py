"""What safetensors files hold, without a copy: tensors are parts of the memory that the file was read into.

A header that is not exactly as the format asks is left to the official library, which copies.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import safetensors.torch
import torch

from medtl_monai.weights.memory import Memory
from medtl_monai.weights.references import NotPlainError

_LENGTH_BYTES = 8
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def content_of_safetensors(memory: Memory) -> dict[str, torch.Tensor]:
    """The tensors by name. Raises what ``safetensors.torch.load`` raises."""
    try:
        return _plain(memory)
    except (NotPlainError, ValueError, LookupError, TypeError):
        return safetensors.torch.load(bytes(memory.view))


def _plain(memory: Memory) -> dict[str, torch.Tensor]:
    start = _LENGTH_BYTES + int.from_bytes(memory.view[:_LENGTH_BYTES], "little")
    if start > len(memory.view) or sys.byteorder != "little":
        raise NotPlainError("cut off, or another byte order")
    header = json.loads(bytes(memory.view[_LENGTH_BYTES:start]), object_pairs_hook=_without_repetition)
    header.pop("__metadata__", None)
    tensors: dict[str, torch.Tensor] = {}
    position = start
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        fits = all(type(length) is int and length >= 0 for length in shape)
        if not fits or (start + begin, end - begin) != (position, math.prod(shape) * dtype.itemsize):
            raise NotPlainError("a tensor of another size than its place")
        position = start + end
        if position > len(memory.view):
            raise NotPlainError("cut off")
        tensors[name] = torch.empty(0, dtype=dtype).set_(memory.storage(start + begin, position, dtype.itemsize))
        tensors[name] = tensors[name].view(shape)
    if position != len(memory.view):
        raise NotPlainError("more bytes than tensors")
    return tensors


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise NotPlainError("a name that comes twice")
    return dict(pairs)
