"""What surrounds a component's name: its switches, and arguments that name code or start downloads."""

from __future__ import annotations

import builtins
import re

from medtl_monai.bundle.lint_expressions import references
from medtl_monai.bundle.lint_findings import nearest, shown
from medtl_monai.bundle.lint_names import DOWNLOAD_ARGUMENTS, DOWNLOADS_BY_DEFAULT, NAMING_ARGUMENTS, NAMING_CLASSES
from medtl_monai.bundle.lint_nodes import Node, text_of
from medtl_monai.bundle.lint_programs import find, normal
from medtl_monai.bundle.lint_targets import Problem, check_target

_SWITCHES = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
_MODES = ("default", "callable")
_MOST_HOPS = 32
_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
Found = list[tuple[Node, Problem]]


def check_component(node: Node, root: Node) -> Found:
    """What is wrong with the keys of a mapping, as far as they are switches or arguments of a component."""
    found: Found = []
    parts = {normal(key).rpartition("::")[2]: child for key, child in node.children()}
    for key, child in parts.items():
        if key == "_mode_":
            found += [(child, one) for one in _mode(child)]
        elif key == "_debug_":
            found.append((child, Problem("component.debug", "`_debug_` starts the debugger", "remove it")))
        elif key == "_disabled_":
            found += [(child, one) for one in _disabled(child)]
        elif key == "_target_" and not isinstance(child.value, str):
            message = f"`_target_` is {type(child.value).__name__}, not a name"
            found.append((child, Problem("target.not-literal", message, "write the name itself")))
        elif "_target_" in parts and _is_switch(key) and key not in _SWITCHES:
            near = nearest(key, _SWITCHES)
            remedy = f"did you mean {near}?" if near else "MONAI passes it on as an argument"
            found.append((child, Problem("component.unknown-key", f"unknown key {key}", remedy)))
    if "_target_" in parts:
        found += _arguments(node, parts, root)
    return found


def _is_switch(key: str) -> bool:
    return len(key) > 2 and key[0] == key[-1] == "_"


def _mode(node: Node) -> list[Problem]:
    if node.value in _MODES:
        return []
    if isinstance(node.value, str) and node.value.lower() == "debug":
        return [Problem("component.debug", "`_mode_` debug starts the debugger", "remove it")]
    return [Problem("component.mode", f"`_mode_` {shown(node.value)}", f"one of {', '.join(_MODES)}")]


def _disabled(node: Node) -> list[Problem]:
    value = node.value
    known = isinstance(value, bool) or (isinstance(value, str) and value.lower().strip() in ("true", "false"))
    if known or (isinstance(value, str) and value[:1] in ("@", "$", "%")):
        return []
    return [Problem("component.disabled", f"`_disabled_` {shown(value)} counts as not disabled", "true or false")]


def _arguments(node: Node, parts: dict[str, Node], root: Node) -> Found:
    short = (text_of(parts["_target_"]) or "").rpartition(".")[2]
    found: Found = []
    for key in DOWNLOAD_ARGUMENTS:
        end = _end(parts[key], root) if key in parts else None
        if end is not None and end.value and not isinstance(end.value, str):
            problem = Problem("download.argument", f"{key} of {short} is not false", f"set {key} to false")
            found.append((parts[key], problem))
    if short in DOWNLOADS_BY_DEFAULT and "pretrained" not in parts:
        message = f"{short} downloads unless pretrained is false"
        found.append((node, Problem("download.argument", message, "set pretrained to false")))
    if short in NAMING_CLASSES and "_mode_" in parts and parts["_mode_"].value != "default":
        message = f"{short} calls what its texts name, and can be called later with any"
        found.append((parts["_mode_"], Problem("component.mode", message, "make it here, without `_mode_`")))
    return found


def _end(node: Node, root: Node) -> Node | None:
    """The value that a chain of references ends in; None for a chain that ends nowhere."""
    for _ in range(_MOST_HOPS):
        text = text_of(node)
        if text is None or text[:1] != "@":
            return node
        names = references(text)
        target = find(root, names[0]) if names else None
        if target is None:
            return None
        node = target
    return None


def check_named(key: str, node: Node, root: Node) -> list[Problem]:
    """Whether an argument that names a class (``reader``, ``writer``) names one that a component may be.

    References are followed. An expression has to be a dotted name, which is judged where expressions are.
    """
    text = text_of(_end(node, root)) if key in NAMING_ARGUMENTS else None
    if not text:
        return []
    if text.startswith("$"):
        dotted = _DOTTED.fullmatch(text[1:])
        return [] if dotted else [Problem("target.not-literal", f"{key} is computed: {shown(text)}", "write the name")]
    if "." in text or hasattr(builtins, text):
        problem = check_target(text)
        return [problem] if problem else []
    return []
