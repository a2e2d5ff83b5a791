"""JSON with places: lines, duplicate keys, and a limit on nesting instead of a full stack."""

from __future__ import annotations

import bisect
import json
import re

from medtl_monai.bundle.lint_findings import Report, shown
from medtl_monai.bundle.lint_nodes import DEEPEST, Node

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = json.JSONDecoder()


class _BrokenError(Exception):
    """Reading cannot go on."""

    def __init__(self, rule: str, at: int, message: str) -> None:
        super().__init__(message)
        self.rule, self.at, self.message = rule, at, message


def scan_json(text: str, file: str, report: Report) -> Node | None:
    """The values of a JSON text with their lines; None, with a finding, if it is damaged or nested too deeply.

    It accepts what :func:`json.loads` accepts. Duplicate keys are findings, and the last one wins as it does there.
    """
    scanner = _Scanner(text, file, report)
    try:
        node, at = scanner.value(0, 0)
        at = scanner.space(at)
        if at != len(text):
            raise _BrokenError("config.syntax", at, "text after the end of the value")
    except _BrokenError as error:
        report.add(error.rule, file, scanner.line(error.at), error.message, "correct the file")
        return None
    return node


class _Scanner:
    def __init__(self, text: str, file: str, report: Report) -> None:
        self.text, self.file, self.report = text, file, report
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def line(self, at: int) -> int:
        return bisect.bisect_left(self.breaks, at) + 1

    def space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int) -> tuple[Node, int]:
        at = self.space(at)
        if depth > DEEPEST:
            raise _BrokenError("config.too-deep", at, f"more than {DEEPEST} levels of nesting")
        head = self.text[at : at + 1]
        if head == "{":
            return self.mapping(at, depth)
        if head == "[":
            return self.sequence(at, depth)
        try:
            value, end = _SCALAR.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise _BrokenError("config.syntax", error.pos, f"damaged JSON: {error.msg}") from error
        except ValueError as error:  # a whole number of thousands of digits
            raise _BrokenError("config.syntax", at, f"damaged JSON: {error}") from error
        return Node(value, self.file, self.line(at)), end

    def mapping(self, at: int, depth: int) -> tuple[Node, int]:
        content: dict[str, Node] = {}
        node = Node(content, self.file, self.line(at))
        at = self.space(at + 1)
        if self.text[at : at + 1] == "}":
            return node, at + 1
        while True:
            at = self.space(at)
            key, after = self.key(at)
            if key in content:
                message = f"duplicate key {shown(key)}, first in line {content[key].line}"
                self.report.add("config.duplicate-key", self.file, self.line(at), message, "remove one of them")
            content[key], at = self.value(after, depth + 1)
            at, more = self.separator(at, "}")
            if not more:
                return node, at

    def key(self, at: int) -> tuple[str, int]:
        if self.text[at : at + 1] != '"':
            raise _BrokenError("config.syntax", at, "damaged JSON: a key in double quotes is missing")
        try:
            key, at = _SCALAR.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise _BrokenError("config.syntax", error.pos, f"damaged JSON: {error.msg}") from error
        at = self.space(at)
        if self.text[at : at + 1] != ":":
            raise _BrokenError("config.syntax", at, "damaged JSON: a colon is missing")
        return key, at + 1

    def sequence(self, at: int, depth: int) -> tuple[Node, int]:
        content: list[Node] = []
        node = Node(content, self.file, self.line(at))
        at = self.space(at + 1)
        if self.text[at : at + 1] == "]":
            return node, at + 1
        while True:
            child, at = self.value(at, depth + 1)
            content.append(child)
            at, more = self.separator(at, "]")
            if not more:
                return node, at

    def separator(self, at: int, end: str) -> tuple[int, bool]:
        at = self.space(at)
        head = self.text[at : at + 1]
        if head not in (",", end) or not head:
            raise _BrokenError("config.syntax", at, f"damaged JSON: a comma or {end!r} is missing")
        return at + 1, head == ","
