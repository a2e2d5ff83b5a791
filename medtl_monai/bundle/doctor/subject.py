"""The bundle that is examined, as text: configurations with their lines, metadata, task. Nothing of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from medtl_monai.bundle.doctor.shapes import shape_of
from medtl_monai.bundle.lint_findings import Report
from medtl_monai.bundle.lint_nodes import Id, Node, text_of
from medtl_monai.bundle.lint_programs import expand, find, merge, normal, walk
from medtl_monai.bundle.lint_sources import Sources

Task = Literal["segmentation", "classification", "other"]
_OTHER_TASKS = ("deepedit", "deepgrow", "detection")


def plain(node: Node) -> Any:
    """The values alone, without their places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


class Subject:
    """A bundle.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.name = self.folder.name
        self._report = Report()  # what cannot be read is reported by the lint
        self._sources = Sources(self.folder, self._report)
        self._programs: dict[tuple[str, ...], Node | None] = {}

    def program(self, *stems: str) -> Node | None:
        """Configurations put together, macros in place; None if one of them is not there or cannot be read."""
        if stems not in self._programs:
            self._programs[stems] = self._put_together(stems)
        return self._programs[stems]

    def _put_together(self, stems: tuple[str, ...]) -> Node | None:
        files = [self._sources.read(name) if self._sources.has(name) else None for name in map(file_of, stems)]
        there = [file for file in files if file is not None and isinstance(file.value, dict)]
        if len(there) < len(files):
            return None
        root = merge(there, self._report)
        expand(root, self._sources.read_macro, lambda name, node: None, self._report)
        return root

    def has(self, name: str) -> bool:
        """Whether the bundle has such a file."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> Node | None:
        """The content of a JSON or YAML file; None if it is not there or cannot be read."""
        return self._sources.read(name) if self._sources.has(name) else None

    @cached_property
    def metadata_node(self) -> Node | None:
        """metadata.json with lines, if it is a mapping."""
        node = self.read("configs/metadata.json")
        return node if node is not None and isinstance(node.value, dict) else None

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """metadata.json; empty if it cannot be read."""
        return plain(self.metadata_node) if self.metadata_node is not None else {}

    def tensor(self, side: Literal["inputs", "outputs"]) -> dict[str, Any]:
        """The declaration of the first input or output; empty if there is none."""
        formats = self.metadata.get("network_data_format")
        tensors = formats.get(side) if isinstance(formats, dict) else None
        first = next(iter(tensors.values()), None) if isinstance(tensors, dict) else None
        return first if isinstance(first, dict) else {}

    def channels(self, side: Literal["inputs", "outputs"]) -> int:
        """Number of channels that metadata declare; 1 if they do not."""
        value = self.tensor(side).get("num_channels")
        return value if type(value) is int and value > 0 else 1

    def shape(self, n: int = 1) -> tuple[int, ...]:
        """Spatial shape of the input at ``n``, in voxels. Raises ValueError if it cannot be evaluated."""
        declared = self.tensor("inputs").get("spatial_shape")
        if not isinstance(declared, list) or len(declared) not in (2, 3):
            raise ValueError(f"spatial_shape of the input is {declared!r}, not two or three sizes")
        return shape_of(declared, n=n)

    @cached_property
    def task(self) -> Task:
        """What the bundle is for, by its metadata and name."""
        name = self.name.lower()
        if any(word in name for word in _OTHER_TASKS):
            return "other"
        pred = self.tensor("outputs")
        classifies = pred.get("type") == "probabilities" or pred.get("format") == "classes"
        if "segmentation" not in name and (classifies or "classification" in name):
            return "classification"
        return "segmentation" if "segmentation" in name or pred.get("format") == "segmentation" else "other"

    def values(self, kind: Literal["inference", "train"]) -> tuple[int, ...]:
        """What masks and labels of a segmentation hold, in the order of the channels.

        ``label_values`` of this configuration, or of the other; else the keys of ``channel_def``, else 0, 1, 2, ...
        One channel separates 0 and 1.
        """
        other: Literal["inference", "train"] = "train" if kind == "inference" else "inference"
        written = self.label_values(kind) or self.label_values(other)
        if written:
            return written
        names, count = self.tensor("outputs").get("channel_def"), self.channels("outputs")
        numbers = sorted(int(key) for key in names if key.isdecimal()) if isinstance(names, dict) else []
        return tuple(numbers) if len(numbers) == count > 1 else tuple(range(max(2, count)))

    def label_values(self, kind: Literal["inference", "train"]) -> tuple[int, ...]:
        """The list ``label_values`` of a configuration; empty if it has none of two or more different numbers."""
        root = self.program(kind)
        node = follow(root, at(root, "label_values")) if root is not None else None
        found = [child.value for _, child in node.children()] if node is not None else []
        whole = tuple(value for value in found if type(value) is int and value >= 0)
        return whole if len(set(whole)) == len(found) > 1 else ()

    @property
    def weights(self) -> Path | None:
        """The file of the weights, if it is there and no stand-in."""
        path = self.folder / "models" / "model.pt"
        if not path.is_file() or path.stat().st_size == 0:
            return None
        with path.open("rb") as stream:
            return None if stream.read(24).startswith(b"version https://git-lfs") else path


def file_of(stem: str) -> str:
    """Path of a configuration relative to the bundle."""
    return f"configs/{stem}.json"


def at(root: Node, name: str) -> Node | None:
    """The value of an id such as ``train#dataset#data``."""
    return find(root, normal(name))


def follow(root: Node, node: Node | None) -> Node | None:
    """The value that a text ``@id`` leads to (any number of steps), or the value itself."""
    for _ in range(32):
        text = text_of(node)
        if text is None or not text.startswith("@"):
            return node
        node = find(root, normal(text[1:]))
    return None


def texts(root: Node) -> Iterator[tuple[Id, Node, str]]:
    """Every text with its id."""
    for where, node in walk(root):
        text = text_of(node)
        if text is not None:
            yield where, node, text


def components(root: Node) -> Iterator[tuple[Node, str]]:
    """Every mapping with a ``_target_``, and the last part of that name."""
    for _, node in walk(root):
        target = text_of(node.child("_target_"))
        if target is not None:
            yield node, target.rpartition(".")[2]


def chain(root: Node, name: str) -> list[Node] | None:
    """The steps of a Compose (or of a list) under an id; None if they are not written out."""
    node = follow(root, at(root, name))
    if node is not None and isinstance(node.value, dict):
        inner = node.child("transforms")
        node = follow(root, inner) if inner is not None else Node([node], node.file, node.line)
    if node is None or not isinstance(node.value, list):
        return None
    return [step for step in (follow(root, one) for one in node.value) if step is not None]


def target_of(node: Node) -> str:
    """The ``_target_`` of a component; empty for anything else."""
    return text_of(node.child("_target_")) or ""
