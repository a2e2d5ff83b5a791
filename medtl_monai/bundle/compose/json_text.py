"""JSON that people can read: as much on a line as fits."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120
_LEAF = 460  # characters; what is longer has lines of its own for its brackets


def json_text(value: Any) -> str:
    """JSON with lines of up to 120 characters; entries share a line where they fit, the order is kept."""
    return _opened(value, 0) + "\n"


def _text(value: Any, indent: int, used: int) -> str:
    """A value that starts at column ``used``, where lines of its own are indented by ``indent`` and more."""
    one = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or used + len(one) < WIDTH:
        return one
    return _opened(value, indent) if len(one) > _LEAF else _hanging(value, indent, used)


def _opened(value: dict[str, Any] | list[Any], indent: int) -> str:
    """Brackets on lines of their own, and what has several lines too."""
    opening, closing = _brackets(value)
    lines = _packed(_entries(value, indent + 2), indent + 2, indent + 2, alone=True)
    return "\n".join([opening, *lines, " " * indent + closing])


def _hanging(value: dict[str, Any] | list[Any], indent: int, used: int) -> str:
    """Brackets at the first and the last entry."""
    opening, closing = _brackets(value)
    lines = _packed(_entries(value, indent + 2), indent + 2, used + 1, alone=False)
    return opening + "\n".join(lines).lstrip() + closing


def _brackets(value: dict[str, Any] | list[Any]) -> tuple[str, str]:
    return ("{", "}") if isinstance(value, dict) else ("[", "]")


def _entries(value: dict[str, Any] | list[Any], indent: int) -> list[str]:
    if isinstance(value, list):
        return [_text(item, indent, indent + 1) for item in value]
    return [f"{json.dumps(key)}: {_text(item, indent, indent + len(key) + 5)}" for key, item in value.items()]


def _packed(entries: list[str], indent: int, start: int, *, alone: bool) -> list[str]:
    """Entries on lines; the first line starts at column ``start``. ``alone``: objects and long entries share none."""
    lines, current, place = [], "", start
    for number, entry in enumerate(entries):
        text = entry + ("," if number < len(entries) - 1 else "")
        single = alone and ("\n" in entry or entry.startswith("{") or ": {" in entry)
        first = text.split("\n", 1)[0]
        if current and (single or "\n" in current or place + len(current) + len(first) + 4 > WIDTH):
            lines.append(" " * indent + current)
            current, place = "", indent
        current = f"{current} {text}" if current else text
        if single:
            lines.append(" " * indent + current)
            current, place = "", indent
    return [*lines, " " * indent + current] if current else lines
