"""What PyTorch files hold, zip and older, without a copy: tensors are parts of the memory that the file was read into.

Whatever is out of the ordinary is left to ``torch.load(weights_only=True)``, which takes more and copies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import torch

from medtl_monai.weights.archive import Record, read_records, require_checksums
from medtl_monai.weights.memory import Memory, MemoryStream
from medtl_monai.weights.pickled import read_pickle
from medtl_monai.weights.references import NotPlainError, StorageRef, TensorRef

_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001
_COUNT_BYTES = 8  # before each storage of an older file: the number of its elements
_PICKLE = "/data.pkl"
_DEEPEST = 3
Find = Callable[[StorageRef], torch.UntypedStorage]


@dataclass(frozen=True)
class OldLayout:
    """What precedes the storages in a file of the older kind.

    Attributes:
        described: what was saved, tensors as references.
        storages: those that are referred to.
        keys: their order in the file.
        start: where the first begins, in bytes.
    """

    described: Any
    storages: dict[str, StorageRef]
    keys: list[str]
    start: int


def old_layout(head: bytes) -> OldLayout:
    """The layout of a file of the older kind from its first bytes. Raises NotPlainError, also if they are too few."""
    magic, end = read_pickle(head)
    protocol, end = read_pickle(head, end)
    system, end = read_pickle(head, end)
    little = sys.byteorder == "little" and isinstance(system, dict) and system.get("little_endian") is True
    if (magic, protocol, little) != (_OLD_MAGIC, _OLD_PROTOCOL, True):
        raise NotPlainError("another format, or another byte order")
    storages: dict[str, StorageRef] = {}
    described, end = read_pickle(head, end, storages)
    keys, end = read_pickle(head, end)
    if not isinstance(keys, list) or len(keys) != len(storages) or set(keys) != set(storages):
        raise NotPlainError("other storages than described")
    return OldLayout(described, storages, keys, end + _COUNT_BYTES)


def content_of_old(memory: Memory, layout: OldLayout | None) -> object:
    """What was saved in a file of the older kind. Raises what torch.load raises."""
    try:
        if layout is None:
            raise NotPlainError("an unknown layout")
        places = _places(memory, layout)
        return _with_tensors(
            layout.described, lambda ref: memory.storage(*places[ref.key], element_bytes=ref.dtype.itemsize)
        )
    except NotPlainError:
        return _by_torch(memory)


def _places(memory: Memory, layout: OldLayout) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    begin = layout.start
    for key in layout.keys:
        _, dtype, length = layout.storages[key]
        end = begin + length * dtype.itemsize
        count = memory.view[begin - _COUNT_BYTES : begin]
        if end > len(memory.view) or int.from_bytes(count, "little", signed=True) != length:
            raise NotPlainError("cut off, or another number of elements than described")
        places[key] = begin, end
        begin = end + _COUNT_BYTES
    return places


def content_of_zip(memory: Memory, with_checksums: bool) -> object:
    """What was saved in a zip file.

    Args:
        memory: the file.
        with_checksums: whether to compare the CRC-32 of the entries.

    Raises:
        zipfile.BadZipFile: the zip directory is missing, or an entry is not what was written.
        Exception: what torch.load raises.
    """
    records = read_records(memory.view)
    if with_checksums:
        require_checksums(memory.view, records)
    try:
        return _plain_zip(memory, records)
    except NotPlainError:
        return _by_torch(memory)


def _plain_zip(memory: Memory, records: list[Record]) -> object:
    by_name = {record.name: record for record in records}
    pickles = [record for record in records if record.name.endswith(_PICKLE)]
    odd = len(by_name) != len(records) or len(pickles) != 1 or pickles[0].name.count("/") != 1
    if odd or not all(record.is_stored for record in records):
        raise NotPlainError("an archive that torch.save does not write")
    folder = pickles[0].name.removesuffix(_PICKLE)
    described, _ = read_pickle(bytes(memory.view[pickles[0].start : pickles[0].end]))
    order = by_name.get(f"{folder}/byteorder")
    if sys.byteorder != "little" or (order and memory.view[order.start : order.end] != b"little"):
        raise NotPlainError("another byte order")

    def find(ref: StorageRef) -> torch.UntypedStorage:
        record = by_name.get(f"{folder}/data/{ref.key}")
        if record is None or record.end - record.start != ref.length * ref.dtype.itemsize:
            raise NotPlainError("a storage that is absent or has another size")
        return memory.storage(record.start, record.end, element_bytes=ref.dtype.itemsize)

    return _with_tensors(described, find)


def _with_tensors(described: object, find: Find) -> object:
    """The same with tensors in place of references, as deep as a wrapped state dict has them."""
    found: dict[StorageRef, torch.UntypedStorage] = {}

    def tensor(ref: TensorRef) -> torch.Tensor:
        if ref.storage not in found:
            found[ref.storage] = find(ref.storage)
        empty = torch.empty(0, dtype=ref.storage.dtype)
        return empty.set_(found[ref.storage], ref.offset, ref.shape, ref.strides)

    def filled(value: object, depth: int) -> object:
        if type(value) is TensorRef:
            return tensor(value)
        if type(value) is dict and depth < _DEEPEST:
            return {key: filled(inner, depth + 1) for key, inner in value.items()}
        return value

    return filled(described, 0)


def _by_torch(memory: Memory) -> object:
    return torch.load(BufferedReader(MemoryStream(memory.view)), map_location="cpu", weights_only=True)
