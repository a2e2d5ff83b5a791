"""Findings: things about the data that were corrected or are worth knowing, but are no reason to refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One remark about one case.

    Attributes:
        code: short stable name, such as ``"dicom.duplicate_slice"``.
        severity: ``"info"`` (recorded), ``"warning"`` (look at it) or ``"error"`` (the case is refused).
        message: what was found, with numbers and units.
        remedy: what the user can do, or what the library did about it.
        case: the case it concerns, if any.
    """

    code: str
    severity: Severity
    message: str
    remedy: str = ""
    case: str | None = None
