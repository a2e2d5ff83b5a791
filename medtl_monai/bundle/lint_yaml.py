"""YAML with places, built from parser events: no tag makes an object, no nesting fills the stack."""

from __future__ import annotations

import importlib
from typing import Any

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_nodes import DEEPEST, MOST_VALUES, Node, Scalar

_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_CORE}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "merge")}
_TRUE = {"yes", "true", "on"}


class _BrokenError(Exception):
    def __init__(self, rule: str, line: int, message: str) -> None:
        super().__init__(message)
        self.rule, self.line, self.message = rule, line, message


def scan_yaml(text: str, file: str, report: Report) -> Node | None:
    """The values of a YAML text with their lines; None, with a finding, if it is damaged, unsafe or cannot be read.

    Numbers and dates are kept as text: the lint needs no arithmetic.
    """
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        report.add("config.unread", file, 1, "reading YAML needs PyYAML", "pip install pyyaml, or convert it to JSON")
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _Builder(yaml, loader, file, report).build()
    except _BrokenError as error:
        report.add(error.rule, file, error.line, error.message, "correct the file")
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        report.add("config.syntax", file, mark.line + 1 if mark else 1, f"damaged YAML: {problem}", "correct the file")
    finally:
        loader.dispose()
    return None


class _Builder:
    """Turns events into nodes; ``open`` holds the containers that have not ended, with the key that waits."""

    def __init__(self, yaml: Any, loader: Any, file: str, report: Report) -> None:
        self.yaml, self.loader, self.file, self.report = yaml, loader, file, report
        self.anchors: dict[str, Node] = {}
        self.open: list[tuple[Node, list[str]]] = []
        self.extents: dict[int, tuple[Node, int, int]] = {}  # node, its values, its levels; aliases written out
        self.merged: set[tuple[int, str]] = set()  # keys that came through <<
        self.root: Node | None = None

    def build(self) -> Node | None:
        while self.loader.check_event():
            event = self.loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, self.yaml.DocumentStartEvent) and self.root is not None:
                raise _BrokenError("config.syntax", line, "damaged YAML: more than one document")
            if isinstance(event, self.yaml.AliasEvent):
                self.place(self.alias(event.anchor, line), line)
            elif isinstance(event, self.yaml.ScalarEvent):
                self.scalar(event, line)
            elif isinstance(event, (self.yaml.MappingStartEvent, self.yaml.SequenceStartEvent)):
                self.start(event, line)
            elif isinstance(event, (self.yaml.MappingEndEvent, self.yaml.SequenceEndEvent)):
                self.end(line)
        return self.root

    def alias(self, anchor: str, line: int) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            raise _BrokenError("config.syntax", line, f"damaged YAML: alias *{anchor} of nothing")
        if any(node is container for container, _ in self.open):
            raise _BrokenError("yaml.alias", line, f"*{anchor} contains itself")
        return node

    def start(self, event: Any, line: int) -> None:
        self.require_plain(event.tag, line)
        if len(self.open) >= DEEPEST:
            raise _BrokenError("config.too-deep", line, f"more than {DEEPEST} levels of nesting")
        node = Node({} if isinstance(event, self.yaml.MappingStartEvent) else [], self.file, line)
        if event.anchor:
            self.anchors[event.anchor] = node
        self.open.append((node, []))

    def end(self, line: int) -> None:
        node, _ = self.open.pop()
        within = [self.extents.get(id(child), (child, 1, 1)) for _, child in node.children()]
        size, levels = 1 + sum(one[1] for one in within), 1 + max((one[2] for one in within), default=0)
        self.extents[id(node)] = (node, size, levels)
        if levels > DEEPEST:
            raise _BrokenError("config.too-deep", line, f"more than {DEEPEST} levels of nesting")
        if size > MOST_VALUES:
            raise _BrokenError("config.too-large", line, f"more than {MOST_VALUES} values, aliases written out")
        self.place(node, line)

    def scalar(self, event: Any, line: int) -> None:
        self.require_plain(event.tag, line)
        tag = event.tag or self.loader.resolve(self.yaml.ScalarNode, event.value, event.implicit)
        node = Node(_scalar(tag, event.value), self.file, line)
        if event.anchor:
            self.anchors[event.anchor] = node
        self.place(node, line, merge=tag == f"{_CORE}merge")

    def require_plain(self, tag: str | None, line: int) -> None:
        if tag is not None and tag != "!" and tag not in _PLAIN_TAGS:
            raise _BrokenError("yaml.tag", line, f"tag {shown(tag)} would make an object")

    def place(self, node: Node, line: int, merge: bool = False) -> None:
        if not self.open:
            self.root = node
            return
        container, waiting = self.open[-1]
        if isinstance(container.value, list):
            container.value.append(node)
        elif not waiting:
            waiting.append("<<" if merge else self.key(node, line))
        else:
            self.enter(container, waiting.pop(), node, line)

    def key(self, node: Node, line: int) -> str:
        if isinstance(node.value, (dict, list)):
            raise _BrokenError("config.syntax", line, "damaged YAML: a key that is no scalar")
        return str(node.value)

    def enter(self, container: Node, key: str, node: Node, line: int) -> None:
        content = container.value
        if not isinstance(content, dict):
            return
        if key == "<<":
            for source in node.value if isinstance(node.value, list) else [node]:
                for name, child in source.children():
                    if name not in content:
                        content[name] = child
                        self.merged.add((id(container), name))
        elif key in content and (id(container), key) not in self.merged:
            message = f"duplicate key {shown(key)}, first in line {content[key].line}"
            self.report.add("config.duplicate-key", self.file, line, message, "remove one of them")
            content[key] = node
        else:
            content[key] = node


def _scalar(tag: str, text: str) -> Scalar:
    if tag == f"{_CORE}bool":
        return text.lower() in _TRUE
    return None if tag == f"{_CORE}null" else text
