"""Which classes and functions a package defines, read from its source as text: nothing is imported."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

_DEFINITION = re.compile(r"^(?:class|def) (\w+)|^((?:[A-Z]\w* = )+)(?:\w+$|LayerFactory)", re.MULTILINE)


@lru_cache(maxsize=4)
def definitions(package: str) -> dict[str, tuple[str, ...]]:
    """Names of classes, functions and their other names -> the modules that define them.

    An empty table if the package is not installed as files. Only the top-level package is looked for, by its files.
    """
    spec = importlib.util.find_spec(package)
    found: dict[str, list[str]] = {}
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        root = Path(folder)
        for path in sorted(root.rglob("*.py")):
            parts = (package, *path.relative_to(root).with_suffix("").parts)
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for name in _names(path.read_text(encoding="utf-8", errors="replace")):
                found.setdefault(name, []).append(module)
    return {name: tuple(modules) for name, modules in found.items()}


def _names(text: str) -> set[str]:
    names: set[str] = set()
    for single, several in _DEFINITION.findall(text):
        names.update([single] if single else several.replace(" ", "").rstrip("=").split("="))
    return names


def within(module: str, rooms: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the rooms or lies in one."""
    return any(module == room or module.startswith(f"{room}.") for room in rooms)
