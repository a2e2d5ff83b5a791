"""A reader of the pickles that torch.save writes for state dicts, which can make nothing but plain values.

It knows the opcodes of such pickles and the names in them; it imports nothing and calls nothing from the file. Whatever
else it meets raises NotPlainError: then torch's own safe reader has the last word, which takes more kinds of
content, and several times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from medtl_monai.weights.references import NotPlainError, StorageRef, TensorRef


class _Name(NamedTuple):
    full: str


_DICT = _Name("collections.OrderedDict")
_TENSOR = _Name("torch._utils._rebuild_tensor_v2")
_PARAMETER = _Name("torch._utils._rebuild_parameter")
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
}
_UINT16, _INT32, _UINT32, _FLOAT64 = (struct.Struct(code) for code in ("<H", "<i", "<I", ">d"))
_KEYS = {str, int, float, bool, type(None)}  # to hash a tuple, nested deeply enough, overflows the stack
_STOP = ord(".")
_BROKEN = (LookupError, TypeError, ValueError, struct.error)


def read_pickle(data: bytes, position: int = 0, storages: dict[str, StorageRef] | None = None) -> tuple[Any, int]:
    """The value of the pickle that begins at ``position``, tensors as :class:`TensorRef`, and where it ends.

    Ordered dicts come as dicts, parameters as tensors. The storages that are referred to are added to ``storages``.
    Raises NotPlainError.
    """
    machine = _Machine(data, position, {} if storages is None else storages)
    try:
        while (code := data[machine.position]) != _STOP:
            machine.position += 1
            _STEPS[code](machine)
        return machine.stack.pop(), machine.position + 1
    except _BROKEN as error:
        raise NotPlainError(f"{type(error).__name__} at byte {machine.position}") from error


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, data: bytes, position: int, storages: dict[str, StorageRef]) -> None:
        self.data = data
        self.storages = storages
        self.position = position
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, layout: struct.Struct) -> Any:
        """The next number."""
        (value,) = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return value

    def byte(self) -> int:
        """The next byte."""
        self.position += 1
        return self.data[self.position - 1]

    def piece(self, length: int) -> bytes:
        """The next bytes."""
        end = self.position + length
        if end > len(self.data):
            raise NotPlainError("cut off")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def line(self) -> str:
        """The rest of the line."""
        end = self.data.index(b"\n", self.position)
        line = self.data[self.position : end].decode("ascii")
        self.position = end + 1
        return line

    def since_mark(self) -> list[Any]:
        """The values after the last mark; the stack goes on below it."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def mark(self) -> None:
        """Begin a group of values."""
        self.marks.append(self.stack)
        self.stack = []

    def top(self, *kinds: type) -> Any:
        """The last value, which has to be of one of these types."""
        if type(self.stack[-1]) not in kinds:
            raise NotPlainError(f"a change to a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def name(self) -> None:
        """A name, as itself: nothing is looked up."""
        module, name = self.line(), self.line()
        if module == "torch" and name in _DTYPES:
            self.stack.append(_DTYPES[name])
        elif (known := _Name(f"{module}.{name}")) in (_DICT, _TENSOR, _PARAMETER):
            self.stack.append(known)
        else:
            raise NotPlainError(f"the name {module}.{name}")

    def call(self) -> None:
        """One of the three calls of a state dict, done by hand."""
        arguments, what = self.stack.pop(), self.stack[-1]
        if what == _TENSOR:
            self.stack[-1] = _tensor(*arguments)
        elif what == _DICT and arguments == ():
            self.stack[-1] = {}
        elif what == _PARAMETER and type(arguments[0]) is TensorRef:
            self.stack[-1] = arguments[0]
        else:
            raise NotPlainError("a call")

    def build(self) -> None:
        """Attributes of an ordered dict (versions of modules), which nothing here needs."""
        self.stack.pop()
        self.top(dict)

    def storage(self) -> None:
        """A reference to a storage."""
        kind, dtype, key, _, length, *view = self.stack.pop()
        well_typed = type(dtype) is torch.dtype and type(key) is str and type(length) is int
        if kind != "storage" or not well_typed or length < 0 or view not in ([], [None]):
            raise NotPlainError("a reference to something else than a storage")
        reference = StorageRef(key, dtype, length)
        if self.storages.setdefault(key, reference) != reference:
            raise NotPlainError("one storage of two kinds")
        self.stack.append(reference)

    def put(self, index: int) -> None:
        """Remember the last value."""
        self.memo[index] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        """Append to a list."""
        self.top(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Fill a dict with keys and values in turn."""
        if not all(type(key) in _KEYS for key in values[::2]):
            raise NotPlainError("a key of another kind")
        self.top(dict).update(zip(values[::2], values[1::2], strict=True))

    def group(self) -> None:
        """A tuple of the values after the last mark."""
        values = self.since_mark()
        self.stack.append(tuple(values))

    def tuple_of(self, length: int) -> None:
        """A tuple of the last values."""
        if len(self.stack) < length:
            raise NotPlainError("too few values")
        self.stack[-length:] = [tuple(self.stack[-length:])]


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any, bits: Any = None
) -> TensorRef:
    """``bits`` are those of lazily conjugated and negated tensors."""
    known = type(storage) is StorageRef and type(shape) is tuple and type(strides) is tuple
    if not known or type(requires_grad) is not bool or hooks != {} or bits:
        raise NotPlainError("a tensor of an unknown kind")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise NotPlainError("a tensor of an impossible shape")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.length:
        raise NotPlainError("a tensor larger than its storage")
    return TensorRef(storage, offset, shape, strides)


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.byte(),
        "c": _Machine.name,
        "R": _Machine.call,
        "b": _Machine.build,
        "Q": _Machine.storage,
        "(": _Machine.mark,
        "q": lambda m: m.put(m.byte()),
        "r": lambda m: m.put(m.take(_UINT32)),
        "h": lambda m: m.stack.append(m.memo[m.byte()]),
        "j": lambda m: m.stack.append(m.memo[m.take(_UINT32)]),
        "N": lambda m: m.stack.append(None),
        "\x88": lambda m: m.stack.append(True),
        "\x89": lambda m: m.stack.append(False),
        "K": lambda m: m.stack.append(m.byte()),
        "M": lambda m: m.stack.append(m.take(_UINT16)),
        "J": lambda m: m.stack.append(m.take(_INT32)),
        "G": lambda m: m.stack.append(m.take(_FLOAT64)),
        "\x8a": lambda m: m.stack.append(int.from_bytes(m.piece(m.byte()), "little", signed=True)),
        "X": lambda m: m.stack.append(m.piece(m.take(_UINT32)).decode("utf-8")),
        ")": lambda m: m.stack.append(()),
        "]": lambda m: m.stack.append([]),
        "}": lambda m: m.stack.append({}),
        "t": _Machine.group,
        "\x85": lambda m: m.tuple_of(1),
        "\x86": lambda m: m.tuple_of(2),
        "\x87": lambda m: m.tuple_of(3),
        "a": lambda m: m.extend([m.stack.pop()]),
        "e": lambda m: m.extend(m.since_mark()),
        "s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
        "u": lambda m: m.set_items(m.since_mark()),
    }.items()
}
