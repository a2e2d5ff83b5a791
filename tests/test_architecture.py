"""The arrows between the rooms, as `docs/architecture.md` tells them, and the cheapness of the front door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import medtl_monai

PACKAGE = Path(medtl_monai.__file__).parent
ALLOWED = {
    "errors": set(),
    "findings": set(),
    "switch": {"errors"},
    "lookup": {"errors"},
    "io": {"errors", "findings"},
    "data": {"errors", "findings", "io"},
    "transforms": {"errors", "io", "data", "lookup", "switch"},
    "weights": {"errors", "io"},
    "networks": {"errors", "lookup", "weights"},
    "transfer": {"errors", "io", "networks", "weights", "switch", "lookup"},
    "inference": {"errors", "switch"},
    "statistics": {"errors"},
    "plain": {"errors"},
    "provenance_rules": {"errors", "findings", "plain"},
    "surroundings": {"errors"},
    "provenance": {"errors", "findings", "io", "data", "plain", "provenance_rules", "surroundings"},
    "workflows": {
        *("errors", "switch", "lookup", "io", "data", "weights", "networks", "transfer", "inference", "statistics"),
        *("report", "provenance"),
    },
    "report": {"errors", "io"},
    "demo": {"errors", "io", "data", "workflows", "report"},
    "ranking": {"errors", "lookup", "io", "data", "transforms", "weights", "networks", "transfer", "report"},
    "study": {"errors", "io", "data", "weights", "networks", "transfer", "workflows", "statistics", "report"},
    "bundle": {"__init__", "errors", "findings"},
    "bundle/planning": {
        "errors",
        "findings",
        "lookup",
        "io",
        "data",
        "transforms",
        "weights",
        "networks",
        "transfer",
    },
    "bundle/compose": {"errors", "io"},
    "bundle/doctor": {
        "__init__",
        "errors",
        "findings",
        "io",
        "data",
        "networks",
        "transfer",
        "bundle",
        "bundle/planning",
    },
    "bundle/new": {
        *("__init__", "errors", "findings", "lookup", "io", "data", "transforms", "weights", "networks", "transfer"),
        *("bundle", "bundle/planning", "bundle/compose"),
    },
    "label": {"errors", "io", "data"},
    "deploy": {"__init__", "errors", "io"},
    "cli": {
        "__init__",
        "errors",
        "bundle",
        "bundle/doctor",
        "bundle/new",
        "data",
        "weights",
        "demo",
        "label",
        "ranking",
        "study",
        "workflows",
    },
}
IO_ADAPTERS = {"reader.py", "writer.py"}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{alias.name}" if node.module == "medtl_monai" else node.module for alias in node.names
            }
    return found


def _room(path: Path) -> str:
    return _room_of(path.relative_to(PACKAGE).with_suffix("").parts)


def _room_of(parts: Sequence[str]) -> str:
    """The first part; but packages in `bundle` are rooms of their own: the linter beside them must stay cheap."""
    found = "/".join(parts[:2])
    return found if found in ALLOWED else parts[0]


def _files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def test_every_room_is_on_the_map() -> None:
    assert {_room(path) for path in _files()} == set(ALLOWED)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_a_higher_one(path: Path) -> None:
    own = {_room_of(name.split(".")[1:]) for name in _imports(path) if name.startswith("medtl_monai.")}
    own.discard("__version__")
    assert own <= ALLOWED[_room(path)] | {_room(path)}


@pytest.mark.parametrize("path", [p for p in _files() if _room(p) in {"io", "data"}], ids=lambda path: path.name)
def test_reading_needs_neither_torch_nor_monai(path: Path) -> None:
    if path.name in IO_ADAPTERS:
        pytest.skip("adapts to MONAI on purpose")
    assert not {name.split(".")[0] for name in _imports(path)} & {"torch", "monai", "ignite"}


@pytest.mark.parametrize("words", [["-c", "import medtl_monai"], ["-m", "medtl_monai.cli", "--help"]])
def test_the_front_door_opens_without_heavy_imports(words: list[str]) -> None:
    result = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "monai", "numpy", "nibabel", "matplotlib"}
