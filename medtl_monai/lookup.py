"""Finding things by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from medtl_monai.errors import ConfigError

Value = TypeVar("Value")


_MOST = 40  # a longer list is not read


def look_up(table: Mapping[str, Value], name: str, what: str) -> Value:
    """The entry of a name. Raises ConfigError, with the nearest name, if there is none."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), table, n=5)
    some = near or list(table)[:5]
    names = ", ".join(table) if len(table) <= _MOST else f"{len(table)} names, such as {', '.join(some)}"
    raise ConfigError(
        f"unknown {what}",
        expected=f"one of {names}",
        got=name,
        remedy=f"did you mean {near[0]!r}?" if near else None,
    )
