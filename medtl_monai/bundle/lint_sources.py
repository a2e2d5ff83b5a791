"""The files that the lint reads: each at most once, never a link out of the bundle, never one that is too large."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_json import scan_json
from medtl_monai.bundle.lint_nodes import MOST_VALUES, Node, text_of
from medtl_monai.bundle.lint_programs import normal, split_macro, walk
from medtl_monai.bundle.lint_yaml import scan_yaml

_SUFFIXES = (".json", ".yaml", ".yml")
_LARGEST = {".json": 4 * 2**20, ".yaml": 256 * 2**10, ".yml": 256 * 2**10, ".conf": 64 * 2**10}  # bytes
_FOLDER = "configs"


class Sources:
    """Configuration files of one bundle.

    Args:
        bundle: its folder.
        report: gets the findings about files that cannot be read.
    """

    def __init__(self, bundle: Path, report: Report) -> None:
        self.bundle, self.report = bundle, report
        self.nodes: dict[str, Node | None] = {}

    def configurations(self) -> list[str]:
        """Paths, relative to the bundle, of the files in ``configs`` and below that MONAI can read."""
        found: list[str] = []
        for folder, _, names in os.walk(self.bundle / _FOLDER):  # links to folders are not followed
            paths = [Path(folder, name) for name in names if Path(name).suffix.lower() in _SUFFIXES]
            found += [path.relative_to(self.bundle).as_posix() for path in paths]
        return sorted(found, key=lambda name: (name.count("/"), name))

    def has(self, name: str) -> bool:
        """Whether there is such a file (or a link)."""
        path = self.bundle / name
        return path.is_symlink() or path.is_file()

    def text(self, name: str) -> str | None:
        """The text of a file; None, with a finding, if it cannot be read."""
        path = self.bundle / name
        try:
            if not path.resolve(strict=True).is_relative_to(self.bundle.resolve()):
                return None  # a link that leaves the bundle is a finding already
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return None  # so is a file that is none
            most = _LARGEST[path.suffix.lower()]
            if status.st_size > most:
                message = f"{status.st_size} bytes, more than {most}"
                self.report.add("config.too-large", name, 1, message, "keep data out of configurations")
                return None
            return path.read_text(encoding="utf-8")
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
            self.report.add("config.unread", name, 1, f"cannot be read: {reason}", "save it as UTF-8 text")
            return None

    def read(self, name: str) -> Node | None:
        """The content of a file; None, with a finding, if it cannot be read."""
        if name not in self.nodes:
            text = self.text(name)
            scan = scan_json if name.lower().endswith(".json") else scan_yaml
            node = scan(text, name, self.report) if text is not None else None
            if node is not None and sum(1 for _ in walk(node)) > MOST_VALUES:
                self.report.add("config.too-large", name, 1, f"more than {MOST_VALUES} values", "keep data elsewhere")
                node = None
            self.nodes[name] = node
        return self.nodes[name]

    def read_macro(self, path: str, node: Node) -> Node | None:
        """The content of the file that a macro names; None, with a finding, if it is outside or not there."""
        parts = path.replace("\\", "/").split("/")
        if path.startswith(("/", "~", "\\")) or ".." in parts or ":" in path:
            message = f"macro reads {shown(path)}, outside the bundle"
            self.report.add("macro.escape", node.file, node.line, message, "put the file into configs")
            return None
        clean = "/".join(part for part in parts if part not in ("", "."))
        name = next((one for one in (clean, f"{_FOLDER}/{clean}") if self.has(one)), None)
        if name is None:
            message = f"macro reads {shown(path)}, which is not there"
            self.report.add("macro.missing", node.file, node.line, message, "name a file of the bundle")
            return None
        return self.read(name)

    def of_macros(self, root: Node) -> list[Node]:
        """The contents of all files that macros in a configuration name."""
        macros = [(split_macro(normal(str(one.value))[1:])[0], one) for _, one in walk(root) if _is_macro(one)]
        found = [self.read_macro(path, node) for path, node in macros if path]
        return [node for node in found if node is not None]


def _is_macro(node: Node) -> bool:
    text = text_of(node)
    return text is not None and text.startswith("%")
