"""What a row of the contract comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["pass", "warning", "fail", "not applicable", "not run"]


@dataclass(frozen=True)
class Problem:
    """One breach of a row.

    Attributes:
        message: what is wrong.
        remedy: its cure.
        file: path relative to the bundle, empty for the bundle as a whole.
        line: line in that file, from 1.
    """

    message: str
    remedy: str
    file: str = ""
    line: int = 1


@dataclass(frozen=True)
class Outcome:
    """The state of one row, with its problems (of a failure or warning) and a note (the reason, or what was done)."""

    state: State
    problems: tuple[Problem, ...] = ()
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, from which :func:`outcome_of` makes it again."""
        return asdict(self)


def outcome_of(content: dict[str, Any]) -> Outcome:
    """The outcome that :meth:`Outcome.as_json` wrote down."""
    problems = tuple(Problem(**one) for one in content["problems"])
    return Outcome(content["state"], problems, content["note"])


def judged(problems: Iterable[Problem], note: str = "") -> Outcome:
    """Passed if there are no problems, else failed with all of them."""
    found = tuple(problems)
    return Outcome("fail" if found else "pass", found, note)


def warned(problems: Iterable[Problem]) -> Outcome:
    """In order, but for something that users have to know; passed if there is nothing."""
    found = tuple(problems)
    return Outcome("warning" if found else "pass", found)


def failed(message: str, remedy: str, file: str = "", line: int = 1) -> Outcome:
    """Failed for one reason."""
    return Outcome("fail", (Problem(message, remedy, file, line),))


def not_applicable(reason: str) -> Outcome:
    """The row says nothing about such a bundle."""
    return Outcome("not applicable", note=reason)


def not_run(reason: str) -> Outcome:
    """The row would apply, but could not be looked at."""
    return Outcome("not run", note=reason)
