"""Every value of a configuration in its context: components, expressions, imports, paths, addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from medtl_monai.bundle.lint_calls import ADDRESS
from medtl_monai.bundle.lint_components import check_component, check_named
from medtl_monai.bundle.lint_expressions import check_expression, method_of_reference, references
from medtl_monai.bundle.lint_findings import Report, nearest, shown
from medtl_monai.bundle.lint_imports import bound_names, check_import, import_statement
from medtl_monai.bundle.lint_names import GLOBALS
from medtl_monai.bundle.lint_nodes import Id, Node, text_of
from medtl_monai.bundle.lint_programs import absolute, find, normal, walk
from medtl_monai.bundle.lint_targets import Problem, check_target, names_forbidden_function

Names = Mapping[str, frozenset[str]]
METADATA_ID = "_meta_"
_ABSOLUTE = re.compile(r"/[\w.]|[A-Za-z]:[\\/]|~[\w]*/|\\\\")
_PARENT = re.compile(r"(?:^|[\\/])\.\.(?:[\\/]|$)")
_QUOTED = re.compile(r"(?:^|[^\w'\"])(['\"])(.*?)\1")
_MOST_HINTS = 50  # looking for the nearest id takes time
_ONLY_TEXT = ("_desc_", "_target_", "_meta_")


def names_of(roots: list[Node], report: Report) -> Names:
    """Names that expressions may use: those that MONAI binds, and those of every import in these configurations."""
    found: dict[str, set[str]] = {name: {dotted} for name, dotted in GLOBALS.items()}
    for root in roots:
        for _, node in walk(root):
            text = text_of(node)
            statement = import_statement(text[1:]) if text and text[0] == "$" else None
            for name, dotted in bound_names(statement, report.profile).items() if statement else ():
                found.setdefault(name, set()).add(dotted)
    return {name: frozenset(meant) for name, meant in found.items()}


class ValueCheck:
    """Checks the values of one configuration as a run would see it.

    Args:
        root: the configuration, put together.
        names: from :func:`names_of`.
        report: gets the findings.
    """

    def __init__(self, root: Node, names: Names, report: Report) -> None:
        self.root, self.names, self.report = root, names, report
        self.hints_left = _MOST_HINTS
        self.ids = sorted({"::".join(where) for where, _ in walk(root)} - {""})
        self.modules = {where[:end] for where, node in walk(root) if _is_import(node) for end in range(len(where) + 1)}
        self.modules.discard(())

    def unknown(self, name: str, node: Node) -> None:
        """Record a reference to nothing."""
        self.hints_left -= 1
        near = nearest(name, self.ids) if self.hints_left >= 0 else None
        remedy = f"did you mean @{near}?" if near else "name an id of the same configuration"
        self.report.add("id.unknown", node.file, node.line, f"@{name} leads to no id", remedy)

    def check(self) -> None:
        """Check everything."""
        for where, node in walk(self.root):
            if self.report.full:
                self.report.add("config.too-large", node.file, node.line, "too many findings", "correct these first")
                return
            if isinstance(node.value, dict):
                self.add(node, check_component(node, self.root))
            elif isinstance(node.value, str):
                self.text(node, where)

    def add(self, node: Node, problems: list[tuple[Node, Problem]]) -> None:
        for place, problem in problems:
            self.report.add(problem.rule, place.file or node.file, place.line, problem.message, problem.remedy)

    def text(self, node: Node, where: Id) -> None:
        text = absolute(str(node.value), where)
        key = next((normal(part).rpartition("::")[2] for part in reversed(where) if not part.isdecimal()), "")
        if key == "_target_":
            self.add(node, [(node, one) for one in self.target(text)])
        else:
            self.add(node, [(node, one) for one in check_named(key, node, self.root)])
        if text.startswith("$"):
            self.expression(text, node)
        elif text.startswith("@"):
            self.reference(text, node)
        elif names_forbidden_function(text) and key not in _ONLY_TEXT:
            problem = Problem("value.forbidden-name", f"{shown(text)} names a function that runs code", "remove it")
            self.add(node, [(node, problem)])
        if where[:1] != (METADATA_ID,) and key not in _ONLY_TEXT:
            self.paths(text, node, where)

    def target(self, text: str) -> list[Problem]:
        if text.startswith("$") and self.report.profile == "default" and method_of_reference(text):
            return []
        if text[:1] in ("$", "@", "%"):
            return [Problem("target.not-literal", f"`_target_` is computed: {shown(text)}", "write the name itself")]
        problem = check_target(text)
        return [problem] if problem else []

    def expression(self, text: str, node: Node) -> None:
        statement = import_statement(text[1:])
        if statement is not None:
            self.add(node, [(node, one) for one in check_import(statement, self.report.profile)])
            return
        self.add(node, [(node, one) for one in check_expression(text, self.names, self.report.profile)])
        self.follow(text, node)

    def reference(self, text: str, node: Node) -> None:
        if references(text):
            self.follow(text, node)
        else:
            remedy = "write it as an expression: $@id + '/name'"
            self.report.add("id.not-a-reference", node.file, node.line, f"{shown(text)} is no reference", remedy)

    def follow(self, text: str, node: Node) -> None:
        for name in references(text):
            if not name or find(self.root, name) is None:
                self.unknown(name, node)
            elif tuple(name.split("::")) in self.modules:
                message = f"@{name} leads to an imported module"
                self.report.add("id.import", node.file, node.line, message, "use the module's name in an expression")

    def paths(self, text: str, node: Node, where: Id) -> None:
        parts = [quoted for _, quoted in _QUOTED.findall(text)] if text.startswith("$") else [text]
        starts = [] if text.startswith(("$", "@", "%")) else [text]
        if text.startswith(("$'", '$"')):
            starts = parts[:1]
        if any(_PARENT.search(part) for part in parts):
            message = f"{shown(text)} leaves its folder"
            self.report.add("path.parent", node.file, node.line, message, "name a folder below @bundle_root")
        if any(_ABSOLUTE.match(part) for part in starts):
            message = f"{shown(text)} is an absolute path"
            self.report.add("path.absolute", node.file, node.line, message, "write it relative to @bundle_root")
        if not text.startswith("$") and ADDRESS.search(text):
            self.address(text, node, where)

    def address(self, text: str, node: Node, where: Id) -> None:
        parents = [find(self.root, "::".join(where[:end])) for end in range(1, len(where))]
        inside = any(isinstance(one.value, dict) and "_target_" in one.value for one in parents if one is not None)
        rule = "url.component" if inside else "url.plain"
        self.report.add(rule, node.file, node.line, f"address {shown(text)}", "put the file into large_files.yml")


def _is_import(node: Node) -> bool:
    text = text_of(node)
    return bool(text) and str(text).startswith("$") and import_statement(str(text)[1:]) is not None
