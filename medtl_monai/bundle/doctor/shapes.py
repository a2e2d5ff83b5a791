"""Shapes that metadata declare: numbers, ``"*"``, or expressions in ``n`` and ``p``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence

_LARGEST = 4096  # voxels along an axis
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def shape_of(declared: Sequence[object], n: int = 1, p: int = 1) -> tuple[int, ...]:
    """The shape at given ``n`` and ``p``, in voxels; ``"*"`` is one voxel, as in MONAI's own check.

    Raises:
        ValueError: an entry is neither an integer nor such an expression, or not from 1 to 4096.
    """
    return tuple(_size(entry, {"n": n, "p": p}) for entry in declared)


def _size(entry: object, names: Mapping[str, int]) -> int:
    if entry == "*":
        return 1
    if isinstance(entry, bool) or not isinstance(entry, int | str):
        raise ValueError(f"{entry!r} is no size")
    size = entry if isinstance(entry, int) else _value(_parsed(entry), names)
    if not 1 <= size <= _LARGEST:
        raise ValueError(f"{entry!r} is {size}, not from 1 to {_LARGEST}")
    return size


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression in n and p") from error


def _value(node: ast.expr, names: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= _LARGEST:
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, names), _value(node.right, names)
        if (isinstance(node.op, ast.Pow) and not 0 <= right <= 12) or (isinstance(node.op, ast.FloorDiv) and not right):
            raise ValueError(f"{ast.unparse(node)!r} is no size")
        return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"{ast.unparse(node)!r} is no expression in n and p")
