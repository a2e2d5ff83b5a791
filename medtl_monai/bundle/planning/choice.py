"""One decision and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """A decision.

    Attributes:
        value: what was decided; plain data.
        reason: one sentence with the numbers that it rests on.
    """

    value: Value
    reason: str
