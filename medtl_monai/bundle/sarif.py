"""Findings as SARIF 2.1.0, the exchange format of static analysis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from medtl_monai.bundle.lint_findings import RULES, LintFinding, Profile

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def sarif(findings: Iterable[LintFinding], profile: Profile, version: str) -> dict[str, Any]:
    """One SARIF log of one run; file names are relative to the bundle folder.

    Args:
        findings: what was found.
        profile: of the run, which the default levels of the rules are given for.
        version: of this library.
    """
    order = {rule: index for index, rule in enumerate(RULES)}
    driver = {
        "name": "medtl lint",
        "version": version,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": about.title},
                "defaultConfiguration": {"level": _LEVELS[about.severity(profile)]},
            }
            for rule, about in RULES.items()
        ],
    }
    results = [_result(finding, order[finding.code]) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: LintFinding, index: int) -> dict[str, Any]:
    cure = f" Cure: {finding.remedy}." if finding.remedy else ""
    place = {
        "artifactLocation": {"uri": quote(finding.file or ".")},
        "region": {"startLine": finding.line},
    }
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}.{cure}"},
        "locations": [{"physicalLocation": place}],
    }
