"""Imports of a configuration: which are allowed, and which names they bind."""

from __future__ import annotations

import ast

from medtl_monai.bundle.lint_findings import Profile, shown
from medtl_monai.bundle.lint_index import within
from medtl_monai.bundle.lint_names import (
    DEFAULT_MODULES,
    DEFAULT_VALUES,
    MONAI_ROOMS,
    OWN_ROOMS,
    STRICT_MODULES,
    STRICT_VALUES,
)
from medtl_monai.bundle.lint_targets import Problem, check_forbidden, check_target

REFUSED = ""  # stands for a module whose import is a finding already
_REMEDY = "leave it out, or use a component (`_target_`) instead"
_LONGEST = 4000


def import_statement(text: str) -> ast.Import | ast.ImportFrom | None:
    """The import that an expression (without its ``$``) is for MONAI, which looks at its first statement alone."""
    if "import" not in text or len(text) > _LONGEST:
        return None
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    first = body[0] if body else None
    return first if isinstance(first, (ast.Import, ast.ImportFrom)) else None


def bound_names(statement: ast.Import | ast.ImportFrom, profile: Profile) -> dict[str, str]:
    """Names that expressions get from an import, with the dotted names behind them; :data:`REFUSED` if not allowed."""
    found = {}
    for alias in statement.names:
        dotted = _dotted(statement, alias)
        found[alias.asname or alias.name] = REFUSED if _check(dotted, statement, profile) else dotted
    return found


def check_import(statement: ast.Import | ast.ImportFrom, profile: Profile) -> list[Problem]:
    """What is wrong with an import statement."""
    problems = []
    for alias in statement.names:
        problem = _check(_dotted(statement, alias), statement, profile)
        if problem is not None:
            problems.append(problem)
        elif isinstance(statement, ast.Import) and "." in alias.name and not alias.asname:
            parent, _, name = alias.name.rpartition(".")
            remedy = f"write `from {parent} import {name}` or `import {alias.name} as {name}`"
            problems.append(Problem("import.unbound", f"import {alias.name} does not bind a name for MONAI", remedy))
    if len(statement.names) > 1:
        problems.append(Problem("import.unbound", "MONAI imports the first of several names alone", "one import each"))
    return problems


def _dotted(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    if isinstance(statement, ast.Import):
        return alias.name
    return f"{'.' * statement.level}{statement.module or ''}.{alias.name}"


def _check(dotted: str, statement: ast.Import | ast.ImportFrom, profile: Profile) -> Problem | None:
    if dotted.startswith(".") or dotted.split(".", 1)[0] == "scripts":
        return Problem("import.bundle-code", f"import of {shown(dotted)}: code of the bundle", _REMEDY)
    if dotted in (STRICT_MODULES if profile == "strict" else DEFAULT_MODULES):
        return None
    if isinstance(statement, ast.ImportFrom) and _is_value(dotted, profile):
        return None
    if profile == "default" and isinstance(statement, ast.Import) and _is_room(dotted):
        return None
    forbidden = check_forbidden(dotted)
    message = f"import of {shown(dotted)}" + (f": {forbidden.message}" if forbidden else " is not allowed")
    return Problem("import.forbidden", message, _REMEDY)


def _is_value(dotted: str, profile: Profile) -> bool:
    if profile == "strict":
        return dotted in STRICT_VALUES
    return dotted in DEFAULT_VALUES or check_target(dotted) is None


def _is_room(dotted: str) -> bool:
    return within(dotted, (*MONAI_ROOMS, *OWN_ROOMS, "monai.utils", "torch.nn", "torch.optim", "ignite")) and not (
        check_forbidden(dotted)
    )
