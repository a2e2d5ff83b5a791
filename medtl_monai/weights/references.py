"""Tensors of a file before they are made."""

from __future__ import annotations

from typing import NamedTuple

import torch


class NotPlainError(Exception):
    """Something that a plain state dict does not hold."""


class StorageRef(NamedTuple):
    """A storage by its key in the file.

    Attributes:
        key: name of the storage in the file.
        dtype: type of its elements.
        length: number of elements.
    """

    key: str
    dtype: torch.dtype
    length: int


class TensorRef(NamedTuple):
    """A tensor whose storage has not been looked up; lengths in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
