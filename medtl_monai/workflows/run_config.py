"""The configuration that a ``python -m monai.bundle run`` command line amounts to."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser


def config_of_command(argv: Sequence[str]) -> dict[str, Any] | None:
    """Configuration files and overrides of a bundle command line, merged, before any expression is evaluated.

    Args:
        argv: the command line, ``sys.argv``.

    Returns:
        The merged configuration, or None if the command line is not one of ``monai.bundle run``.
    """
    if len(argv) < 2 or Path(argv[0]).parts[-3:-1] != ("monai", "bundle") or argv[1] != "run":
        return None
    options = _options(argv[2:])
    if "args_file" in options:
        options = {**ConfigParser.load_config_file(options["args_file"]), **options}
    files = options.pop("config_file", None)
    if files is None:
        return None
    for ignored in ("meta_file", "logging_file", "run_id", "init_id", "final_id", "tracking", "args_file"):
        options.pop(ignored, None)
    parser = ConfigParser(ConfigParser.load_config_files(files if isinstance(files, list) else [files]))
    parser.update(pairs=options)
    return dict(parser.get())


def _options(words: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        options[name] = _literal(value)
    return options


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
