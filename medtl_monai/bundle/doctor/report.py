"""Verdicts as text, JSON and SARIF 2.1.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from medtl_monai.bundle.doctor.examine import Verdict
from medtl_monai.bundle.doctor.outcome import State
from medtl_monai.bundle.doctor.rows import ROWS

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_MARKS: dict[State, str] = {"pass": "ok", "warning": "warn", "fail": "FAIL", "not applicable": "n/a", "not run": "--"}
_KINDS = {"pass": "pass", "fail": "fail", "not applicable": "notApplicable", "not run": "open"}
_COUNTED = {"pass": "passed", "warning": "warnings", "fail": "failed"}  # the others as they are called
_LEVELS = {"fail": "error", "warning": "warning"}


def as_text(verdicts: Sequence[Verdict]) -> str:
    """One line per row, below it a line per problem; the numbers last. Rows that were not chosen are left out."""
    lines = []
    for one in verdicts:
        if one.outcome.note == "not chosen":
            continue
        note = f" ({one.outcome.note})" if one.outcome.note else ""
        lines.append(f"{_MARKS[one.outcome.state]:<5}{one.row:<14}{ROWS[one.row].title}{note}")
        for problem in one.outcome.problems:
            place = f"{problem.file}:{problem.line}: " if problem.file else ""
            lines.append(f"{'':19}{place}{problem.message}")
            lines.append(f"{'':19}cure: {problem.remedy}")
    return "\n".join([*lines, _numbers(verdicts)])


def _numbers(verdicts: Sequence[Verdict]) -> str:
    count = Counter(one.outcome.state for one in verdicts)
    return ", ".join(f"{_COUNTED.get(state, state)}: {count[state]}" for state in _MARKS)


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """A mapping with whether the bundle passes, and the rows."""
    rows = [
        {
            "row": one.row,
            "title": ROWS[one.row].title,
            "state": one.outcome.state,
            "note": one.outcome.note,
            "seconds": round(one.seconds, 2),
            "problems": one.outcome.as_json()["problems"],
        }
        for one in verdicts
    ]
    return {"passed": all(one.outcome.state != "fail" for one in verdicts), "rows": rows}


def as_sarif(verdicts: Sequence[Verdict], version: str) -> dict[str, Any]:
    """One SARIF log: a result per problem, and one for every other row, with its kind."""
    order = {row: index for index, row in enumerate(ROWS)}
    rules = [{"id": row, "shortDescription": {"text": about.title}} for row, about in ROWS.items()]
    driver = {"name": "medtl doctor", "version": version, "rules": rules}
    results = [result for one in verdicts for result in _results(one, order[one.row])]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(verdict: Verdict, index: int) -> list[dict[str, Any]]:
    outcome, common = verdict.outcome, {"ruleId": verdict.row, "ruleIndex": index}
    if outcome.state not in _LEVELS:
        text = outcome.note or ROWS[verdict.row].title
        return [{**common, "kind": _KINDS[outcome.state], "level": "none", "message": {"text": text}}]
    return [
        {
            **common,
            "kind": "fail",
            "level": _LEVELS[outcome.state],
            "message": {"text": f"{one.message}. Cure: {one.remedy}."},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(one.file or ".")},
                        "region": {"startLine": one.line},
                    }
                }
            ],
        }
        for one in outcome.problems
    ]
