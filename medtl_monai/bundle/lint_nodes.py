"""Values of a configuration that remember the file and line they were written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

Scalar = Union[str, int, float, bool, None]  # noqa: UP007  (evaluated, Python 3.10 cannot join a forward reference)
DEEPEST = 64  # levels; the deepest configuration of the model zoo has 12
MOST_VALUES = 100_000  # values in a configuration, aliases and macros written out

Id = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Node:
    """One value.

    Attributes:
        value: a mapping, a list, or a scalar.
        file: path relative to the bundle folder.
        line: line in the file, from 1.
    """

    value: dict[str, Node] | list[Node] | Scalar
    file: str
    line: int

    def children(self) -> Iterator[tuple[str, Node]]:
        """Keys (indices as text) and values of a mapping or list; nothing for a scalar."""
        if isinstance(self.value, dict):
            yield from self.value.items()
        elif isinstance(self.value, list):
            yield from ((str(index), child) for index, child in enumerate(self.value))

    def child(self, key: str) -> Node | None:
        """The value of a key or index, if there is one."""
        if isinstance(self.value, dict):
            return self.value.get(key)
        if isinstance(self.value, list) and key.isdecimal() and len(key) < 7 and int(key) < len(self.value):
            return self.value[int(key)]
        return None

    def copy(self) -> Node:
        """A copy whose mappings and lists can be changed without changing these."""
        if isinstance(self.value, dict):
            return Node({key: child.copy() for key, child in self.value.items()}, self.file, self.line)
        if isinstance(self.value, list):
            return Node([child.copy() for child in self.value], self.file, self.line)
        return self


def text_of(node: Node | None) -> str | None:
    """The value if it is a text."""
    return node.value if node is not None and isinstance(node.value, str) else None
