"""Expressions (``$...``) judged by their syntax tree; nothing is evaluated.

The text is rewritten as MONAI rewrites it before it evaluates it (``@a#b`` becomes ``__local_refs['a::b']``), so that
what is judged is what would run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from medtl_monai.bundle.lint_calls import check_attribute, check_constant, check_dotted, check_keywords, harmless_switch
from medtl_monai.bundle.lint_findings import Profile, nearest, shown
from medtl_monai.bundle.lint_imports import REFUSED
from medtl_monai.bundle.lint_names import DEFAULT_BUILTINS, FORBIDDEN_BUILTINS, STRICT_BUILTINS
from medtl_monai.bundle.lint_programs import normal
from medtl_monai.bundle.lint_targets import Problem

REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_VARIABLES = "__local_refs"
_LONGEST = 4000
_MOST_NODES = 2000
_LARGEST_POWER = 64
_STRICT_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred, ast.Call),
    *(ast.List, ast.Tuple, ast.Dict, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.keyword),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Set, ast.expr_context),
    *(ast.boolop, ast.cmpop, ast.unaryop, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
)
_DEFAULT_NODES = (*_STRICT_NODES, ast.Lambda, ast.arguments, ast.arg, ast.JoinedStr, ast.FormattedValue, ast.Pow)
_PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
Scope = frozenset[str]


def references(text: str) -> list[str]:
    """Ids that a text refers to: all of an expression, the whole of any other text."""
    found = REFERENCE.findall(normal(text))
    return [one[1:] for one in found if text.startswith("$") or one == normal(text)]


def check_expression(text: str, names: Mapping[str, frozenset[str]], profile: Profile) -> list[Problem]:
    """What is wrong with an expression.

    Args:
        text: it, with its ``$``, relative ids written out.
        names: names that imports and MONAI bind -> the dotted names that each may stand for.
        profile: how much is allowed.
    """
    if len(text) > _LONGEST:
        return [Problem("expr.syntax", f"expression of {len(text)} characters", f"at most {_LONGEST}")]
    try:
        tree = ast.parse(rewritten(text)[1:].lstrip(" \t"), mode="eval")
    except _PARSE_ERRORS as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        return [Problem("expr.syntax", f"{shown(text)} is no expression: {reason}", "correct it")]
    return list(dict.fromkeys(_Checker(names, profile).problems(tree)))


def rewritten(text: str) -> str:
    """The text that MONAI would evaluate: every reference replaced by a look-up, the longest first."""
    text = normal(text)
    for found in sorted(REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(found, f"{_VARIABLES}['{found[1:]}']")
    return text


def method_of_reference(text: str) -> bool:
    """Whether an expression is nothing but attributes of a reference, such as ``$@model.forward``."""
    try:
        node: ast.AST = ast.parse(rewritten(text)[1:].lstrip(" \t"), mode="eval").body
    except _PARSE_ERRORS:
        return False
    attributes = 0
    while isinstance(node, ast.Attribute):
        node, attributes = node.value, attributes + 1
    return attributes > 0 and _is_reference(node)


def _is_reference(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == _VARIABLES
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    )


class _Checker:
    def __init__(self, names: Mapping[str, frozenset[str]], profile: Profile) -> None:
        self.names, self.profile = names, profile
        self.nodes = _STRICT_NODES if profile == "strict" else _DEFAULT_NODES
        self.builtins = STRICT_BUILTINS if profile == "strict" else DEFAULT_BUILTINS

    def problems(self, tree: ast.AST) -> Iterator[Problem]:
        waiting: list[tuple[ast.AST, Scope]] = [(tree, frozenset())]
        seen = 0
        while waiting:
            node, scope = waiting.pop()
            seen += 1
            if seen > _MOST_NODES:
                yield Problem("expr.syntax", "expression is too large", "use a component (`_target_`) instead")
                return
            scope = scope | _bound(node)
            if not isinstance(node, self.nodes):  # what is below it is judged all the same
                yield from [self.refused(node)] if isinstance(node, (ast.expr, ast.operator)) else []
                waiting.extend((child, scope) for child in ast.iter_child_nodes(node))
                continue
            found, inner = self.judge(node, scope)
            yield from found
            waiting.extend((child, scope) for child in inner)

    def judge(self, node: ast.AST, scope: Scope) -> tuple[list[Problem], list[ast.AST]]:
        """Problems of a node itself, and the nodes below it that are still to be judged."""
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            return [self.refused(node)], inner
        if isinstance(node, ast.Attribute):
            return self.attribute(node, scope)
        if isinstance(node, ast.Subscript):
            return ([], []) if _is_reference(node) or self.is_variable(node, scope) else ([], inner)
        if isinstance(node, ast.Name):
            return (self.name(node.id) if node.id not in scope else []), []
        if isinstance(node, ast.Call):
            return ([], []) if harmless_switch(node, self.profile) else (check_keywords(node), inner)
        if isinstance(node, ast.Constant):
            return check_constant(node.value), []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and not _small_power(node):
            return [Problem("expr.construct", "a power of unknown size", "write the number")], inner
        return [], inner

    def attribute(self, node: ast.Attribute, scope: Scope) -> tuple[list[Problem], list[ast.AST]]:
        parts: list[str] = []
        root: ast.AST = node
        while isinstance(root, ast.Attribute):
            parts.insert(0, root.attr)
            root = root.value
        if isinstance(root, ast.Name) and root.id not in scope and root.id != _VARIABLES:
            private = [one for part in parts for one in check_attribute(part, "default") if part.startswith("_")]
            return private or self.chain(root.id, parts), []
        return [one for part in parts for one in check_attribute(part, self.profile)], [root]

    def chain(self, root: str, parts: list[str]) -> list[Problem]:
        if root not in self.names or REFUSED in self.names[root]:
            return self.name(root) or [
                Problem("expr.attribute", f"attribute of {root}: {'.'.join(parts)}", "use a component (`_target_`)")
            ]
        meant = [".".join((dotted, *parts)) for dotted in sorted(self.names[root])]
        return [one for dotted in meant for one in check_dotted(dotted, self.profile)]

    def name(self, name: str) -> list[Problem]:
        if name in FORBIDDEN_BUILTINS:  # also where an import binds it: another run may not have that import
            return [Problem("expr.forbidden", f"{name} is not allowed", "use a component (`_target_`) instead")]
        if name in self.names:
            if REFUSED in self.names[name]:
                return [Problem("expr.name", f"{name} comes from a refused import", "use a component (`_target_`)")]
            return [one for dotted in sorted(self.names[name]) for one in check_dotted(dotted, self.profile)]
        if name in self.builtins:
            return []
        near = nearest(name, [*self.builtins, *self.names])
        remedy = f"did you mean {near}?" if near else "import it, or use a component (`_target_`) instead"
        return [Problem("expr.name", f"unknown name {name}", remedy)]

    def is_variable(self, node: ast.Subscript, scope: Scope) -> bool:
        """Whether this reads one environment variable by name: ``os.environ['LOCAL_RANK']``."""
        value = node.value
        if not (isinstance(value, ast.Attribute) and value.attr == "environ" and isinstance(value.value, ast.Name)):
            return False
        name = value.value.id
        known = name not in scope and self.names.get(name) == frozenset({"os"})
        return known and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)

    def refused(self, node: ast.AST) -> Problem:
        kind = type(node).__name__
        return Problem("expr.construct", f"{kind} is not allowed here", "use a component (`_target_`) instead")


def _bound(node: ast.AST) -> Scope:
    """Names that a lambda or a comprehension binds inside itself."""
    if isinstance(node, ast.Lambda):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        return frozenset(one.arg for one in every if one is not None)
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        targets = [part for generator in node.generators for part in ast.walk(generator.target)]
        return frozenset(part.id for part in targets if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return frozenset()


def _small_power(node: ast.BinOp) -> bool:
    exponent = node.right
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    return isinstance(value, (int, float)) and abs(value) <= _LARGEST_POWER
