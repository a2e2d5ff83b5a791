"""One examination of a bundle, row by row."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.bundle.doctor import judge
from medtl_monai.bundle.doctor.commands import Session
from medtl_monai.bundle.doctor.outcome import Outcome, Problem, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.processes import Processes
from medtl_monai.bundle.doctor.rows import ROWS
from medtl_monai.bundle.doctor.subject import Subject
from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.lint_findings import LintFinding, nearest
from medtl_monai.bundle.lint_names import words
from medtl_monai.errors import ConfigError

_ZOO = ("L1", "D2", "D4", "K10", "NET", "K6")  # with CLI-META where there is a schema
_RANDOM = "with initial weights of seed 0: the bundle has none"
_USES_WEIGHTS = words(
    "LOAD K5 CLI-INFER CLI-ELSEWHERE CLI-EVALUATE CLI-EXPORT CLI-ONNX LABEL-INFER LABEL-TRAIN DEPLOY OFFLINE"
)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one row, and the seconds it took."""

    row: str
    outcome: Outcome
    seconds: float = 0.0


@dataclass(frozen=True)
class Choice:
    """Which rows to look at, and how.

    Attributes:
        only: rows, all if empty.
        skip: rows.
        quick: no row that runs commands.
        trust: run the bundle even if lint finds it dangerous.
        schema: file of MONAI's schema of metadata.
        timeout: of each child process, s.
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    quick: bool = False
    trust: bool = False
    schema: Path | None = None
    timeout: float = 300.0


def examine(
    bundle: str | Path, choice: Choice | None = None, tell: Callable[[Verdict], None] | None = None
) -> list[Verdict]:
    """Look at a bundle; one verdict for every row, in the order of :data:`ROWS`.

    The bundle is only read: what runs, runs in child processes on copies, without network.

    Args:
        bundle: its folder.
        choice: rows and settings; all rows by default.
        tell: called with each verdict as soon as it is there.

    Raises:
        ConfigError: there is no such folder, row, or schema.
    """
    choice, folder = choice or Choice(), Path(bundle)
    if not folder.is_dir():
        raise ConfigError("no such bundle", path=folder, expected="a folder that holds `configs`")
    _require_rows((*choice.only, *choice.skip))
    if choice.schema is not None and not choice.schema.is_file():
        raise ConfigError("no such schema", path=choice.schema)
    lint = lint_bundle(folder)
    with tempfile.TemporaryDirectory(prefix="medtl-doctor-") as work:
        schema = choice.schema.resolve() if choice.schema else None
        session = Session(Subject(folder), Processes(Path(work), choice.timeout), schema)
        return _Examination(session, lint, choice).verdicts(tell)


def _require_rows(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        near = nearest(unknown[0], ROWS)
        remedy = f"did you mean {near}?" if near else None
        raise ConfigError("no such row", expected=", ".join(ROWS), got=", ".join(unknown), remedy=remedy)


class _Examination:
    def __init__(self, session: Session, lint: list[LintFinding], choice: Choice) -> None:
        self.session, self.lint, self.choice = session, lint, choice
        self.subject = session.subject
        self.dangers = [one for one in lint if one.severity == "error" and one.code not in judge.HARMLESS]
        self.random = False

    def verdicts(self, tell: Callable[[Verdict], None] | None) -> list[Verdict]:
        found: dict[str, Verdict] = {}
        for row in ROWS:
            start = time.monotonic()
            outcome = self.reason(row) or self.look(row, found)
            found[row] = Verdict(row, outcome, time.monotonic() - start)
            if tell is not None:
                tell(found[row])
        return list(found.values())

    def reason(self, row: str) -> Outcome | None:
        """Why a row is not looked at, if it is not."""
        about = ROWS[row]
        if (self.choice.only and row not in self.choice.only) or row in self.choice.skip:
            return not_run("not chosen")
        if about.optional and row not in self.choice.only:
            return not_run(f"optional: --only {row}")
        if about.stage == "run" and self.choice.quick:
            return not_run("not with --quick")
        if about.stage in ("static", "sum"):
            return None
        return self.obstacle(row)

    def obstacle(self, row: str) -> Outcome | None:
        """Why a row that runs something of the bundle cannot be looked at."""
        if self.dangers and not self.choice.trust:
            return not_run("lint finds the bundle dangerous (row LINT); --trust runs it all the same")
        if row in judge.NEED_TRAIN and not self.subject.has(judge.TRAIN):
            return not_applicable(f"no {judge.TRAIN}")
        if self.subject.program("inference") is None or not self.subject.metadata:
            return not_run("inference.json or metadata.json is not there or cannot be read")
        if self.subject.task == "other" and (row in _USES_WEIGHTS or row in judge.NEED_TRAIN):
            return not_run("synthetic cases are made for segmentations and classifications only")
        return self.no_weights(row) or self.no_cases(row)

    def no_weights(self, row: str) -> Outcome | None:
        if self.subject.weights is None and row in judge.NEED_WEIGHTS:
            return not_run("no weights")
        if self.subject.weights is None and row in _USES_WEIGHTS and not self.random:
            trouble = self.session.use_random_weights()
            self.random = True
            if trouble is not None:
                return not_run(f"no weights, and network_def cannot be built: {trouble.error}")
        return None

    def no_cases(self, row: str) -> Outcome | None:
        if row not in judge.NEED_CASES:
            return None
        try:
            _ = self.session.cases
        except ValueError as error:
            return not_run(f"no synthetic cases: {error}")
        return None

    def look(self, row: str, found: dict[str, Verdict]) -> Outcome:
        if row == "LINT":
            return judged(Problem(one.message, one.remedy, one.file, one.line) for one in self.dangers)
        if row == "ZOO":
            return self.zoo(found)
        if row in judge.STATIC:
            return judge.STATIC[row](self.subject, self.lint)
        if row in judge.MADE:
            outcome = judge.made(row, self.session)
        else:
            outcome = (judge.COMMANDS | judge.OTHERS)[row](self.session)
        if self.random and row in _USES_WEIGHTS and outcome.state in ("pass", "fail"):
            note = f"{_RANDOM}; {outcome.note}" if outcome.note else _RANDOM
            return Outcome(outcome.state, outcome.problems, note)
        return outcome

    def zoo(self, found: dict[str, Verdict]) -> Outcome:
        rows = (*_ZOO, "CLI-META") if self.session.schema else _ZOO
        bad = _of_state(found, rows, ("fail",))
        if bad:
            return judged([Problem(f"{', '.join(bad)} failed", "see these rows: the zoo's CI checks them")])
        open_rows = _of_state(found, rows, ("not run",))
        return not_run(f"follows from {', '.join(open_rows)}, not run") if open_rows else judged([])


def _of_state(found: dict[str, Verdict], rows: Collection[str], states: tuple[str, ...]) -> list[str]:
    return [row for row in rows if found[row].outcome.state in states]
