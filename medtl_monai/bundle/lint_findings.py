"""Findings of the lint: what is wrong in which file and line, and the rules behind them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from medtl_monai.findings import Finding, Severity

Profile = Literal["default", "strict"]


@dataclass(frozen=True)
class LintFinding(Finding):
    """A finding with a place.

    Attributes:
        file: path relative to the bundle folder, with forward slashes.
        line: line in that file, from 1; 1 where lines make no sense.
    """

    file: str = ""
    line: int = 1


@dataclass(frozen=True)
class Rule:
    """What a rule is about, and how severe a breach is in each profile."""

    title: str
    default: Severity = "error"
    strict: Severity = "error"

    def severity(self, profile: Profile) -> Severity:
        """The severity in a profile."""
        return self.strict if profile == "strict" else self.default


RULES: dict[str, Rule] = {
    "config.missing": Rule("A bundle has configs/metadata.json and a train or inference configuration"),
    "config.syntax": Rule("A configuration is valid JSON or YAML"),
    "config.duplicate-key": Rule("A key occurs once: the last one would win silently"),
    "config.too-deep": Rule("A configuration is not nested beyond all need"),
    "config.too-large": Rule("A configuration is not larger than any needs to be"),
    "config.unread": Rule("Every configuration can be read here"),
    "yaml.tag": Rule("YAML holds plain values, no objects"),
    "yaml.alias": Rule("YAML aliases do not contain themselves"),
    "target.not-literal": Rule("The name of a component is written out, not computed"),
    "target.forbidden": Rule("No component runs commands, imports or unpickles"),
    "target.not-allowed": Rule("Components come from MONAI, torch, ignite or medtl_monai"),
    "target.bundle-code": Rule("No component comes from Python code in the bundle"),
    "component.debug": Rule("No component starts the debugger"),
    "component.mode": Rule("`_mode_` is default or callable"),
    "component.disabled": Rule("`_disabled_` is true or false"),
    "component.unknown-key": Rule("Keys with underscores around them are those that MONAI knows", "warning", "error"),
    "expr.syntax": Rule("An expression is valid Python and not larger than any needs to be"),
    "expr.construct": Rule("Expressions are simple: values, references, calls of known functions"),
    "expr.name": Rule("Names in expressions are known"),
    "expr.forbidden": Rule("No expression runs commands, imports, opens files or unpickles"),
    "expr.private": Rule("No expression touches private or dunder attributes"),
    "expr.attribute": Rule("Attributes in expressions are harmless"),
    "expr.module": Rule("No expression hands a whole module on"),
    "expr.format": Rule("No format string reads attributes"),
    "import.forbidden": Rule("Imports are modules that a configuration needs"),
    "import.bundle-code": Rule("No Python code of the bundle is imported"),
    "import.unbound": Rule("An import binds the name that expressions use", "warning", "error"),
    "value.forbidden-name": Rule("No value names a function that runs commands, imports or unpickles"),
    "path.absolute": Rule("Paths are relative to the bundle", "warning", "error"),
    "path.parent": Rule("Paths stay in the bundle"),
    "url.component": Rule("No component or expression gets an address on the network"),
    "url.plain": Rule("Configurations name no address on the network", "warning", "error"),
    "download.target": Rule("No component downloads"),
    "download.argument": Rule("No component is told to download"),
    "id.unknown": Rule("Every reference leads to an id"),
    "id.override": Rule("Every override has a parent to go into"),
    "id.not-a-reference": Rule("A text that starts with @ is a reference", "warning", "error"),
    "id.import": Rule("No reference leads to an imported module"),
    "macro.escape": Rule("Macros read files of the bundle only"),
    "macro.missing": Rule("Macros read files that are there"),
    "file.code": Rule("No code in the bundle"),
    "file.link": Rule("Symbolic links stay in the bundle"),
    "file.special": Rule("Only plain files and folders"),
    "file.large": Rule("Large files are fetched by large_files.yml", "warning", "warning"),
    "weights.code": Rule("Weights hold tensors, no code"),
    "weights.unreadable": Rule("Weights files can be checked"),
    "weights.script": Rule("Weights hold tensors, no compiled program", "warning", "warning"),
    "weights.pointer": Rule("Weights are the file itself, not a stand-in for it", "warning", "warning"),
    "large-file.hash": Rule("Every file to fetch has a hash"),
    "large-file.path": Rule("Every file to fetch lands in the bundle"),
    "large-file.address": Rule("Files are fetched by https", "warning", "error"),
    "logging.class": Rule("logging.conf uses handlers of the standard library"),
    "logging.arguments": Rule("logging.conf holds plain arguments"),
    "metadata.key": Rule("metadata.json has the required keys"),
    "metadata.type": Rule("The required keys of metadata.json have the required types"),
}
_MOST_TEXT = 160
_MOST_FINDINGS = 1000
_MOST_LETTERS = 4  # more or fewer than in the name that was meant


@dataclass
class Report:
    """Collects findings; the same one is kept once.

    Attributes:
        profile: decides on severities.
        findings: in the order found.
    """

    profile: Profile = "default"
    findings: dict[LintFinding, None] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether so much is wrong already that looking further is of no use."""
        return len(self.findings) >= _MOST_FINDINGS

    def add(self, rule: str, file: str, line: int, message: str, remedy: str = "") -> None:
        """Record a breach of a rule of :data:`RULES`; a full report takes errors of rules that it has none of yet."""
        if self.full and any(found.code == rule for found in self.findings):
            return
        severity = RULES[rule].severity(self.profile)
        self.findings[LintFinding(rule, severity, message, remedy, file=file, line=line)] = None

    def sorted(self) -> list[LintFinding]:
        """All findings by file, line and rule."""
        return sorted(self.findings, key=lambda one: (one.file, one.line, one.code, one.message))


def shown(value: object) -> str:
    """A value in a message: quoted, printable, not too long."""
    text = repr(value)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: alike, with the same first letter and about as long."""
    alike = [one for one in names if one[:1].lower() == name[:1].lower() and abs(len(one) - len(name)) <= _MOST_LETTERS]
    near = difflib.get_close_matches(name, alike, n=1) if len(name) <= _MOST_TEXT else []
    return near[0] if near else None
