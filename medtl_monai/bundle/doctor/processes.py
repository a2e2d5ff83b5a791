"""Child processes, forked from a clean server that has imported torch and MONAI once; spawned where there is none."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtl_monai.bundle.doctor import child
from medtl_monai.bundle.doctor.outcome import Outcome, outcome_of

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_PRELOADED = ["medtl_monai.bundle.doctor.preload"]
_ERROR = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b:?\s*[^\n]*)", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_MOST_TEXT = 400


@dataclass(frozen=True)
class Finished:
    """How a child ended.

    Attributes:
        code: exit status; negative after a signal.
        output: all that it printed.
        timed_out: it was killed because it took too long.
        seconds: how long it took.
    """

    code: int
    output: str
    timed_out: bool
    seconds: float

    @property
    def error(self) -> str:
        """The error in a few words: the last one of the output, and the first if it was caused by another."""
        if self.timed_out:
            return f"not finished after {self.seconds:.0f} s"
        found = [" ".join(one.split()) for one in _ERROR.findall(_COLOUR.sub("", self.output))]
        if not found:
            return f"ended with status {self.code}: {self.output.strip()[-_MOST_TEXT:]}"
        last = found[-1][:_MOST_TEXT]
        return last if found[0] == found[-1] else f"{last}; at first: {found[0][:_MOST_TEXT]}"


class Processes:
    """Starts children, one at a time.

    Args:
        work: folder for logs; the children's current folders are made in it.
        timeout: of each child, s.
    """

    def __init__(self, work: Path, timeout: float) -> None:
        self.work, self.timeout = work, timeout
        self._context = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            self._context.set_forkserver_preload(_PRELOADED)  # type: ignore[attr-defined]

    def folder(self) -> Path:
        """A new empty folder."""
        made = self.work / uuid.uuid4().hex[:12]
        made.mkdir(parents=True)
        return made

    def command(self, verb: str, options: Mapping[str, object], folder: Path) -> Finished:
        """Run one verb of ``python -m monai.bundle`` in a folder."""
        words = [verb, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        return self._finish(child.run_command, (words, str(folder)))[0]

    def row(self, function: str, bundle: Path, data: Mapping[str, Any]) -> Outcome | Finished:
        """Call a function of this package in a child, in an empty folder; how the child ended if it gave no outcome."""
        result = self.folder() / "outcome.json"
        arguments = (function, str(bundle), dict(data), str(self.folder()))
        finished, _ = self._finish(child.run_row, arguments, str(result))
        if finished.code == 0 and result.is_file():
            return outcome_of(json.loads(result.read_text()))
        return finished

    def _finish(self, target: Callable[..., None], arguments: Sequence[Any], *more: str) -> tuple[Finished, Path]:
        log = self.folder() / "log.txt"
        process = self._context.Process(target=target, args=(*arguments, str(log), *more))  # type: ignore[attr-defined]
        start = time.monotonic()
        process.start()
        process.join(self.timeout)
        timed_out = process.is_alive()
        if timed_out:
            _kill(process)
        output = log.read_text(errors="replace") if log.is_file() else ""
        code = process.exitcode if process.exitcode is not None else 1
        return Finished(code, output, timed_out, time.monotonic() - start), log


def _kill(process: Any) -> None:
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()  # it had no group of its own yet
    else:
        process.kill()
    process.join()
