"""``configs/logging.conf``: Python evaluates its classes and arguments, so both have to be plain."""

from __future__ import annotations

import ast
import configparser

from medtl_monai.bundle.lint_findings import Report, shown

_CLASSES = frozenset(
    f"{prefix}{name}"
    for name in ("StreamHandler", "FileHandler", "NullHandler", "RotatingFileHandler", "TimedRotatingFileHandler")
    for prefix in ("", "logging.", "handlers.", "logging.handlers.")
)
_FORMATTERS = frozenset({"logging.Formatter", "Formatter"})
_STREAMS = ("sys.stdout", "sys.stderr")
_MOST_TEXT = 1000


def check_logging(text: str, file: str, report: Report) -> None:
    """Check the text of a ``logging.conf``: classes of the standard library, literal arguments."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError) as error:
        report.add("config.syntax", file, 1, f"damaged: {str(error).splitlines()[0]}", "correct the file")
        return
    for section in parser.sections():
        for key, value in parser.items(section):
            line = _line(text, section, key)
            allowed = _CLASSES if section.startswith("handler") else _FORMATTERS
            if key == "class" and value not in allowed:
                remedy = f"one of {', '.join(sorted(name for name in allowed if '.' not in name))}"
                report.add("logging.class", file, line, f"class {shown(value)} is not allowed", remedy)
            elif key in ("args", "kwargs") and not _is_plain(value):
                remedy = "write literals, sys.stdout or sys.stderr"
                report.add("logging.arguments", file, line, f"{key} {shown(value)} would be evaluated", remedy)


def _line(text: str, section: str, key: str) -> int:
    inside, lines = False, text.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith("["):
            inside = line.strip() == f"[{section}]"
        elif inside and line.split("=", 1)[0].split(":", 1)[0].strip().lower() == key:
            return number
    return 1


def _is_plain(text: str) -> bool:
    if len(text) > _MOST_TEXT:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_plain_node(node) for node in ast.walk(tree))


def _is_plain_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in _STREAMS
    if isinstance(node, ast.Name):
        return node.id == "sys"
    return isinstance(
        node,
        (ast.Expression, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.USub, ast.expr_context),
    )
