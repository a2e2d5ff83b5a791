"""What a component may be: the verdict on a name in ``_target_``."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from functools import lru_cache

from medtl_monai.bundle.lint_findings import nearest, shown
from medtl_monai.bundle.lint_index import definitions, within
from medtl_monai.bundle.lint_names import (
    ALWAYS_DOWNLOADS,
    CLASS_MODULES,
    DETERMINISM,
    DOWNLOADING_DOTTED,
    FORBIDDEN_DOTTED,
    FORBIDDEN_IN_TEXTS,
    FORBIDDEN_MODULES,
    FORBIDDEN_WITHIN,
    MONAI_FUNCTIONS,
    MONAI_ROOMS,
    OWN_ROOMS,
)

_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", re.ASCII)
_NETWORKS = ("monai.networks.nets",)
_ALLOWED = "classes of MONAI, torch.nn, torch.optim, torch.utils.data, ignite and medtl_monai"
_TORCH_FUNCTIONS = ("torch.device", "torch.Generator", "torch.tensor")


@dataclass(frozen=True)
class Problem:
    """A breach of a rule, without its place."""

    rule: str
    message: str
    remedy: str = ""


def check_target(name: str) -> Problem | None:
    """Why a component may not be this class or function; None if it may.

    Plain names are looked up in MONAI's source as MONAI itself does; dotted names must be defined where they say.
    """
    problem = check_forbidden(name)
    if problem is not None:
        return problem
    root = name.split(".", 1)[0]
    if not _DOTTED.fullmatch(name):
        return Problem("target.not-allowed", f"{shown(name)} is no name of a class", f"allowed are {_ALLOWED}")
    if root == "scripts":
        remedy = "use classes of an installed package; code in a bundle is not checked"
        return Problem("target.bundle-code", f"{shown(name)} is Python code of the bundle", remedy)
    if "." not in name or root == "monai":
        return _check_monai(name)
    if root == "medtl_monai":
        return None if _defined(name, "medtl_monai", OWN_ROOMS) else _unknown(name, "medtl_monai", OWN_ROOMS)
    return _check_class_module(name)


def check_forbidden(name: str) -> Problem | None:
    """Whether a name, in whatever context, stands for code that no configuration may call."""
    parts = name.split(".")
    allowed = f"allowed are {_ALLOWED}"
    if within(name, DOWNLOADING_DOTTED) or parts[-1] in ALWAYS_DOWNLOADS:
        return Problem("download.target", f"{shown(name)} downloads", "put the file into the bundle or large_files.yml")
    if len(parts) == 1 and hasattr(builtins, name):
        return Problem("target.forbidden", f"{shown(name)} is a built-in function of Python", allowed)
    reached = [parts[0]] if parts[0] in FORBIDDEN_MODULES else [part for part in parts if part in FORBIDDEN_WITHIN]
    if reached:
        return Problem("target.forbidden", f"{shown(name)} reaches the module {reached[0]}", allowed)
    for forbidden, why in FORBIDDEN_DOTTED.items():
        if within(name, (forbidden,)) and name not in DETERMINISM:
            return Problem("target.forbidden", f"{shown(name)} {why}", allowed)
    return None


def names_forbidden_function(text: str) -> bool:
    """Whether a text is the dotted name of a function that no configuration may call."""
    if "." not in text or not _DOTTED.fullmatch(text):
        return False
    return text.split(".", 1)[0] in FORBIDDEN_IN_TEXTS or within(text, (*FORBIDDEN_DOTTED, *DOWNLOADING_DOTTED))


def _check_monai(name: str) -> Problem | None:
    if name in DETERMINISM or _defined(name, "monai", MONAI_ROOMS):
        return None
    if not definitions("monai"):
        return Problem("target.not-allowed", f"{shown(name)} cannot be checked: MONAI is not installed", "install it")
    short, modules = name.rpartition(".")[2], definitions("monai").get(name.rpartition(".")[2], ())
    if modules and "." not in name:
        where = f"{modules[0]}.{short}"
        worse = check_forbidden(where)
        message = f"{shown(name)} ({where}) is not meant for configurations"
        return worse or Problem("target.not-allowed", message, f"allowed are {_ALLOWED}")
    return _unknown(name, "monai", MONAI_ROOMS)


def _defined(name: str, package: str, rooms: tuple[str, ...]) -> bool:
    """Whether the class (or known function) is defined in the rooms, under the module that its name says."""
    module, _, short = name.rpartition(".")
    modules = definitions(package).get(short, ())
    if not module:  # a plain name may mean any of them
        return bool(modules) and all(_is_component(one, short, package, rooms) for one in modules)
    return any(within(one, (module,)) and _is_component(one, short, package, rooms) for one in modules)


def _is_component(module: str, short: str, package: str, rooms: tuple[str, ...]) -> bool:
    if short.startswith("_") or not within(module, rooms):
        return False
    if short[0].isupper() or package == "medtl_monai" or short in MONAI_FUNCTIONS:
        return True
    harmless = not any(word in short for word in ("pretrained", "load", "download", "get_"))
    return within(module, _NETWORKS) and harmless


@lru_cache(maxsize=4)
def _components(package: str, rooms: tuple[str, ...]) -> tuple[str, ...]:
    names = definitions(package)
    return tuple(one for one, modules in names.items() if any(_is_component(m, one, package, rooms) for m in modules))


def _unknown(name: str, package: str, rooms: tuple[str, ...]) -> Problem:
    names = definitions(package)
    module, _, short = name.rpartition(".")
    near = nearest(short, _components(package, rooms))
    if not near:
        remedy = f"allowed are {_ALLOWED}"
    elif module:
        remedy = f"did you mean {names[near][0]}.{near}?"
    else:
        remedy = f"did you mean {near}?"
    return Problem("target.not-allowed", f"{shown(name)} is no class of {package} for configurations", remedy)


def _check_class_module(name: str) -> Problem | None:
    module, _, short = name.rpartition(".")
    if name in _TORCH_FUNCTIONS:
        return None
    if module in CLASS_MODULES and (short[0].isupper() or short in CLASS_MODULES[module].split()):
        return None
    near = nearest(module, CLASS_MODULES)
    remedy = f"did you mean {near}.{short}?" if near and near != module else f"allowed are {_ALLOWED}"
    return Problem("target.not-allowed", f"{shown(name)} is not on the list of allowed components", remedy)
