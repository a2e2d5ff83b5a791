"""Verdicts on the parts of an expression: dotted names, attributes, constants."""

from __future__ import annotations

import ast
import re

from medtl_monai.bundle.lint_findings import Profile, nearest, shown
from medtl_monai.bundle.lint_names import (
    DEFAULT_MODULES,
    DEFAULT_VALUES,
    DOWNLOAD_ARGUMENTS,
    DOWNLOADS_BY_DEFAULT,
    FORBIDDEN_ATTRIBUTE_STARTS,
    FORBIDDEN_ATTRIBUTES,
    FORBIDDEN_MODULES,
    NAMING_CLASSES,
    STRICT_ATTRIBUTES,
    STRICT_VALUES,
)
from medtl_monai.bundle.lint_targets import Problem, check_forbidden, check_target, names_forbidden_function

ADDRESS = re.compile(r"(?:https?|ftps?|s3|gs|file|ssh|ngc|hf)://", re.IGNORECASE)
_SWITCHES = re.compile(r"torch\.backends(\.\w+)+", re.ASCII)
_COMPONENT = "use a component (`_target_`) instead"


def check_dotted(name: str, profile: Profile) -> list[Problem]:
    """What is wrong with the use of a dotted name of a module, such as ``torch.cuda.is_available``."""
    if name in (STRICT_VALUES if profile == "strict" else DEFAULT_VALUES):
        return []
    if name.split(".")[:2] == ["os", "environ"]:
        return [Problem("expr.forbidden", "the environment is only read as os.environ['NAME']", _COMPONENT)]
    forbidden = check_forbidden(name)
    if forbidden is not None and name not in DEFAULT_MODULES:
        rule = "download.target" if forbidden.rule == "download.target" else "expr.forbidden"
        return [Problem(rule, forbidden.message, _COMPONENT)]
    if name in DEFAULT_MODULES:
        return [Problem("expr.module", f"the module {name} is handed on as a value", "name what is needed of it")]
    if profile == "default" and (check_target(name) is None or _is_member(name)):
        return _check_class(name.rpartition(".")[2])
    near = nearest(name, STRICT_VALUES if profile == "strict" else DEFAULT_VALUES)
    return [Problem("expr.name", f"{name} is not on the list", f"did you mean {near}?" if near else _COMPONENT)]


def _check_class(name: str) -> list[Problem]:
    if name in NAMING_CLASSES:
        return [Problem("expr.forbidden", f"{name} calls what its texts name", _COMPONENT)]
    if name in DOWNLOADS_BY_DEFAULT:
        return [Problem("download.argument", f"{name} downloads unless pretrained is false", _COMPONENT)]
    return []


def check_keywords(node: ast.Call) -> list[Problem]:
    """What is wrong with the named arguments of a call: those that start a download."""
    told = [one.arg for one in node.keywords if one.arg in DOWNLOAD_ARGUMENTS and not _is_false(one.value)]
    return [Problem("download.argument", f"{name} is not false", f"set {name} to False") for name in told]


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def _is_member(name: str) -> bool:
    """Whether this is a public member of an allowed class, such as ``monai.networks.layers.Norm.BATCH``."""
    owner, _, member = name.rpartition(".")
    is_class = owner.rpartition(".")[2][:1].isupper()
    return is_class and check_target(owner) is None and not check_attribute(member, "default")


def check_attribute(name: str, profile: Profile) -> list[Problem]:
    """What is wrong with an attribute of an object whose type is not known."""
    if name.startswith(FORBIDDEN_ATTRIBUTE_STARTS):
        return [Problem("expr.private", f"attribute {name} is private", _COMPONENT)]
    if name in ("format", "format_map"):
        return [Problem("expr.format", f"{name} can read any attribute", "join texts with +, or write an f-string")]
    if name in FORBIDDEN_ATTRIBUTES:
        return [Problem("expr.forbidden", f"attribute {name} is not allowed", _COMPONENT)]
    if profile == "strict" and name not in STRICT_ATTRIBUTES:
        near = nearest(name, STRICT_ATTRIBUTES)
        return [Problem("expr.attribute", f"attribute {name} is not on the list", _hint(near))]
    return []


def _hint(near: str | None) -> str:
    return f"did you mean {near}?" if near else _COMPONENT


def check_constant(value: object) -> list[Problem]:
    """What is wrong with a constant: addresses on the network, and names of functions that are never called."""
    if not isinstance(value, str):
        return []
    if ADDRESS.search(value):
        return [Problem("url.component", f"address {shown(value)} in an expression", "put the file into the bundle")]
    if names_forbidden_function(value) or (value.startswith("__") and value.endswith("__") and len(value) > 4):
        return [Problem("value.forbidden-name", f"{shown(value)} names code", _COMPONENT)]
    if value in FORBIDDEN_MODULES and value in ("os", "subprocess", "builtins", "shutil", "importlib", "pickle"):
        return [Problem("value.forbidden-name", f"{shown(value)} names a module that runs code", _COMPONENT)]
    return []


def harmless_switch(node: ast.Call, profile: Profile) -> bool:
    """Whether a call only sets a switch of a torch backend: ``setattr(torch.backends.cudnn, 'benchmark', True)``."""
    if profile == "strict" or node.keywords or len(node.args) != 3:
        return False
    if not (isinstance(node.func, ast.Name) and node.func.id == "setattr"):
        return False
    owner, name, value = node.args
    public = isinstance(name, ast.Constant) and isinstance(name.value, str) and not name.value.startswith("_")
    plain = isinstance(value, ast.Constant)
    return public and plain and _SWITCHES.fullmatch(ast.unparse(owner)) is not None
