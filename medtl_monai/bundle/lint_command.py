"""``medtl lint`` on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from medtl_monai import __version__
from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.lint_findings import LintFinding, Profile
from medtl_monai.bundle.sarif import sarif


def run_lint(options: argparse.Namespace) -> tuple[str, int]:
    """The text to show for ``options.bundle``, and the exit status: 1 if there are errors, else 0.

    Raises ConfigError if there is no such folder.
    """
    findings = lint_bundle(options.bundle, options.profile)
    status = int(any(finding.severity == "error" for finding in findings))
    if options.format == "sarif":
        return json.dumps(sarif(findings, options.profile, __version__), indent=2), status
    if options.format == "json":
        return json.dumps(as_json(findings, options.profile), indent=2), status
    return as_text(findings), status


def as_text(findings: Sequence[LintFinding]) -> str:
    """One line per finding, and a line with the numbers."""
    lines = []
    for one in findings:
        place = f"{one.file}:{one.line}" if one.file else "bundle"
        cure = f"; {one.remedy}" if one.remedy else ""
        lines.append(f"{place}: {one.severity}: {one.message}{cure} [{one.code}]")
    errors = sum(one.severity == "error" for one in findings)
    warnings = sum(one.severity == "warning" for one in findings)
    return "\n".join([*lines, f"errors: {errors}, warnings: {warnings}"])


def as_json(findings: Sequence[LintFinding], profile: Profile) -> dict[str, Any]:
    """A mapping with the profile, whether the bundle passes, and the findings."""
    rows = [
        {
            "rule": one.code,
            "severity": one.severity,
            "file": one.file,
            "line": one.line,
            "message": one.message,
            "remedy": one.remedy,
        }
        for one in findings
    ]
    passed = all(one.severity != "error" for one in findings)
    return {"profile": profile, "passed": passed, "findings": rows}
