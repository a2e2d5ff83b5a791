"""``medtl doctor`` on the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from medtl_monai import __version__
from medtl_monai.bundle.doctor.examine import Choice, Verdict, examine
from medtl_monai.bundle.doctor.report import as_json, as_sarif, as_text

SCHEMA_VARIABLE = "MEDTL_META_SCHEMA"


def run_doctor(options: argparse.Namespace) -> tuple[str, int]:
    """The text to show for ``options.bundle``, and the exit status: 1 if a row failed, else 0.

    On a terminal, rows are named while they are looked at. Raises ConfigError if there is no such folder or row.
    """
    schema = options.schema or os.environ.get(SCHEMA_VARIABLE)
    choice = Choice(
        only=_names(options.only),
        skip=_names(options.skip),
        quick=options.quick,
        trust=options.trust,
        schema=Path(schema) if schema else None,
        timeout=options.timeout,
    )
    verdicts = examine(options.bundle, choice, _tell if sys.stderr.isatty() else None)
    status = int(any(one.outcome.state == "fail" for one in verdicts))
    if options.format == "sarif":
        return json.dumps(as_sarif(verdicts, __version__), indent=2), status
    if options.format == "json":
        return json.dumps(as_json(verdicts), indent=2), status
    return as_text(verdicts), status


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _tell(verdict: Verdict) -> None:
    sys.stderr.write(f"\r{verdict.row}: {verdict.outcome.state:<20}\r")
    sys.stderr.flush()
