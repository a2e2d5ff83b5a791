"""Configuration files put together as a run puts them together: overrides, macros, ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_nodes import DEEPEST, MOST_VALUES, Id, Node, text_of

_MACRO_FILE = re.compile(r"(.*\.(?:json|yaml|yml))(?=::|$)(?:::)?(.*)", re.IGNORECASE | re.DOTALL)
_RELATIVE = re.compile(r"[@%](?:::)+")
# the files that a file goes on top of, in the order in which they are tried
_BASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "train": ((),),
    "inference": ((),),
    "metadata": ((),),
    "evaluate": (("train",), ()),
    "multi_gpu_train": (("train",), ()),
    "multi_gpu_evaluate": (("train", "evaluate"), ("evaluate",), ()),
    "inference_trt": (("inference",), ()),
}
_ANY_BASES: tuple[tuple[str, ...], ...] = ((), ("train",), ("inference",), ("train", "evaluate"))
ReadMacro = Callable[[str, Node], "Node | None"]


def bases_of(stem: str, known: Iterable[str]) -> list[tuple[str, ...]]:
    """The combinations of files, among those that are there, that a file of this name may be meant to go on top of."""
    there = set(known)
    usual = _BASES.get(stem, _ANY_BASES)
    return [names for names in usual if set(names) <= there and stem not in names]


def normal(text: str) -> str:
    """An id with ``::`` between its parts, as MONAI rewrites every text."""
    return text.replace("#", "::")


def merge(files: Iterable[Node], report: Report) -> Node:
    """One configuration from several: later files override earlier ones, ``a#b`` goes into ``a``, ``+a`` adds to ``a``.

    An override without a parent is a finding; its value stays in the result under its full name, to be checked.
    """
    content: dict[str, Node] = {}
    root = Node(content, "", 1)
    for file in files:
        for key, node in file.children():
            if not _put(root, key, node.copy(), report):
                content[normal(key)] = node.copy()
    return root


def _put(root: Node, key: str, node: Node, report: Report) -> bool:
    adds = key.startswith("+")
    parts = normal(key[1:] if adds else key).split("::")
    parent: Node | None = root
    for part in parts[:-1]:
        parent = parent.child(part) if parent is not None else None
    last = parts[-1]
    if parent is None or not _can_hold(parent, last):
        message = f"override {shown(key)} has no parent to go into"
        report.add("id.override", node.file, node.line, message, "name an id of the file that it overrides")
        return False
    before = parent.child(last)
    if adds and before is not None:
        return _add(before, key, node, report)
    if isinstance(parent.value, dict):
        parent.value[last] = node
    elif isinstance(parent.value, list):
        parent.value[int(last)] = node
    return True


def _can_hold(parent: Node, key: str) -> bool:
    return isinstance(parent.value, dict) or parent.child(key) is not None


def _add(before: Node, key: str, node: Node, report: Report) -> bool:
    if isinstance(before.value, dict) and isinstance(node.value, dict):
        before.value.update(node.value)
        return True
    if isinstance(before.value, list) and isinstance(node.value, list):
        before.value.extend(node.value)
        return True
    report.add("id.override", node.file, node.line, f"{shown(key)} adds a value of another kind", "add like to like")
    return False


def absolute(text: str, where: Id) -> str:
    """A text with relative ids (``@##a``: beside the parent) written out; those above the root are left as they are."""
    text = normal(text)
    for prefix in sorted(set(_RELATIVE.findall(text)), reverse=True):
        up = prefix.count("::")
        if up > len(where):
            continue
        head = "" if up == len(where) else "::".join(where[:-up]) + "::"
        text = text.replace(prefix, prefix[0] + head)
    return text


def split_macro(text: str) -> tuple[str, str]:
    """File and id of a macro without its ``%``; the file is empty for an id of the same configuration."""
    found = _MACRO_FILE.match(text)
    return (found.group(1), found.group(2)) if found else ("", text)


def find(root: Node, name: str) -> Node | None:
    """The value of an id such as ``a::b::0``; the root for the empty id."""
    node: Node | None = root
    for part in name.split("::") if name else []:
        node = node.child(part) if node is not None else None
    return node


def expand(root: Node, read: ReadMacro, missing: Callable[[str, Node], None], report: Report) -> None:
    """Put the values that macros (``%id``, ``%file.json::id``) stand for in their places, in ``root`` itself.

    Args:
        root: the configuration, which is changed.
        read: gives the content of another file, or None after it recorded why not.
        missing: called with the id and the macro, for an id that is not there.
        report: gets a finding where macros make the configuration too large or too deep; those stay unexpanded.
    """
    left = MOST_VALUES
    for where, parent, key, node in list(walk_places(root)):
        text = text_of(node)
        target = _macro_target(absolute(text, where), node, root, read, missing) if text and text[0] == "%" else None
        if target is None:
            continue
        size, levels, holds_itself = _extent(target, node, left)
        left -= size
        if left < 0 or levels + len(where) > 2 * DEEPEST:
            report.add("config.too-large", node.file, node.line, "macros make the configuration too large or too deep")
            return
        if holds_itself:
            report.add("macro.missing", node.file, node.line, f"macro {shown(text)} contains itself", "write it out")
        elif isinstance(parent.value, dict):
            parent.value[key] = target.copy()
        elif isinstance(parent.value, list):
            parent.value[int(key)] = target.copy()


def _macro_target(
    text: str, node: Node, root: Node, read: ReadMacro, missing: Callable[[str, Node], None]
) -> Node | None:
    path, name = split_macro(text[1:])
    source = read(path, node) if path else root
    target = find(source, name) if source is not None else None
    if source is not None and target is None:
        missing(name, node)
    return target


def _extent(target: Node, node: Node, most: int) -> tuple[int, int, bool]:
    size, levels, holds = 0, 0, False
    for where, part in walk(target):
        if size > most:
            break
        size, levels, holds = size + 1, max(levels, len(where)), holds or part is node
    return size, levels, holds


def walk(root: Node) -> Iterator[tuple[Id, Node]]:
    """Every value with its id in the order of the text, the root first."""
    waiting: list[tuple[Id, Node]] = [((), root)]
    while waiting:
        where, node = waiting.pop()
        yield where, node
        waiting.extend(((*where, key), child) for key, child in reversed(list(node.children())))


def walk_places(root: Node) -> Iterator[tuple[Id, Node, str, Node]]:
    """Every value below the root with its id, its container and its key there."""
    for where, node in walk(root):
        for key, child in node.children():
            yield (*where, key), node, key, child
