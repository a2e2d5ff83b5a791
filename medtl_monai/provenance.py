"""The record of a run: what was run, on what, with what, and what came out, in one JSON file."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from medtl_monai.data.fingerprint import file_sha256, series_sha256
from medtl_monai.errors import ConfigError, OutputError
from medtl_monai.findings import Finding
from medtl_monai.io.atomic import write_json
from medtl_monai.plain import plain, sha256_of, without_folders
from medtl_monai.provenance_rules import FORMAT, PACKAGES, validate_record
from medtl_monai.surroundings import git_state, peak_memory_mb

__all__ = ["RunRecord", "validate_record"]

End = Literal["finished", "failed", "stopped"]
_log = logging.getLogger(__name__)


class RunRecord:
    """A run.json that is written whole at the start, at every change and at the end.

    The state is ``"running"``, then ``"finished"``, ``"failed"`` (with the error's type and text) or ``"stopped"``. A
    file that still says ``"running"`` when nothing runs tells of a process that was killed. A record that is already
    at the path is replaced. No absolute path is stored: files of the data set are named relative to its folder, other
    paths by their last part.

    As a context manager it ends itself: ``"failed"`` on an exception, ``"stopped"`` on KeyboardInterrupt (both go on
    to the caller), else ``"finished"``.

    Args:
        path: the JSON file; its folder must exist.
        config: the resolved configuration; see `medtl_monai.plain.plain` for what is stored of other objects.
        seeds: the seeds by name.
        command: the command line; by default that of the interpreter, whose own folder is left out.
        threads: thread counts by name, e.g. ``{"torch": 2}``.

    Raises:
        OutputError: the file could not be written (so does every method that changes the record).
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        config: object,
        seeds: Mapping[str, int],
        command: Sequence[str] | None = None,
        threads: Mapping[str, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self._hide = {os.path.abspath(os.curdir), os.path.expanduser("~")}
        self._start = time.monotonic()
        stored = self._plain(config)
        self._content: dict[str, Any] = {
            "format": FORMAT,
            "state": "running",
            "error": None,
            "started": _now(),
            "finished": None,
            "wall_s": 0.0,
            "peak_memory_mb": peak_memory_mb(),
            "command": self._plain(list(sys.orig_argv if command is None else command)),
            "config": stored,
            "config_sha256": sha256_of(stored),
            **_machine(),
            "threads": self._plain(dict(threads or {})),
            "seeds": self._plain(dict(seeds)),
            "weights": [],
            "data": {},
            "findings": [],
            "metrics": {},
        }
        write_json(self.path, self._content)

    def set_data(self, splits: Mapping[str, Sequence[Mapping[str, str]]], root: str | PathLike[str]) -> None:
        """Record names and file hashes of the cases of each split.

        Args:
            splits: by name, cases as ``{"case": name, "image": path[, "label": path]}``; an image may be the folder
                of a DICOM series.
            root: the dataset folder that paths are named from; a file outside it is named by its last part.

        Raises:
            DataError: a file cannot be read.
        """
        folder = Path(os.path.abspath(root))
        self._hide.add(str(folder))
        data = {name: [_case(case, folder) for case in cases] for name, cases in splits.items()}
        self._change(data=self._plain(data))

    def add_weights(
        self,
        name: str,
        *,
        path: str | PathLike[str] | None = None,
        sha256: str | None = None,
        licence: str = "",
        lineage: Sequence[object] = (),
        report: object = None,
    ) -> None:
        """Record weights that were used.

        Args:
            name: name in the registry.
            path: their file; its last part is stored.
            sha256: hash of the file; computed from `path` if not given.
            licence: their licence.
            lineage: all weights that they come from, oldest first, themselves included.
            report: the load report (a dataclass or anything that `plain` takes).
        """
        digest = file_sha256(path) if sha256 is None and path is not None else sha256
        file = None if path is None else Path(path).name
        row: dict[str, object] = {"name": name, "file": file, "sha256": digest, "licence": licence}
        row |= {"lineage": list(lineage), "report": report}
        self._change(weights=[*self._content["weights"], self._plain(row)])

    def add_findings(self, findings: Iterable[Finding]) -> None:
        """Record remarks about the data, after those already there."""
        self._change(findings=[*self._content["findings"], *(self._plain(finding) for finding in findings)])

    def set_metrics(self, metrics: Mapping[str, object]) -> None:
        """Record the metrics, instead of those already there; NaN is stored as the text ``"NaN"``."""
        self._change(metrics=self._plain(metrics))

    def finish(self, state: End = "finished", error: BaseException | None = None) -> None:
        """End the record. It cannot be changed afterwards.

        Args:
            state: how the run ended.
            error: what it failed with; needed for ``"failed"`` and not allowed for ``"finished"``.

        Raises:
            ConfigError: the record has ended already, or state and error do not go together.
        """
        needs = {"finished": (True,), "failed": (False,), "stopped": (True, False)}
        if (error is None) not in needs.get(state, ()):
            wanted = "finished without error, failed with one, or stopped"
            raise ConfigError("a run cannot end so", expected=wanted, got=f"{state!r} with {error!r}")
        text = None if error is None else without_folders(str(error), self._hide)
        stored = None if error is None else {"type": type(error).__name__, "text": text}
        self._change(error=stored, finished=_now(), state=state)

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._content["state"] != "running":
            return
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.finish()
            return
        try:
            self.finish("stopped" if isinstance(error, KeyboardInterrupt) else "failed", error)
        except OutputError as second:  # the run's own error matters more and goes on to the caller
            _log.error("the end of the run could not be recorded: %s", second)

    def _plain(self, value: object) -> Any:
        return plain(value, self._hide)

    def _change(self, **parts: Any) -> None:
        if self._content["state"] != "running":
            raise ConfigError("the record has ended and cannot be changed", path=self.path, got=self._content["state"])
        parts |= {"wall_s": round(time.monotonic() - self._start, 3), "peak_memory_mb": peak_memory_mb()}
        content = {**self._content, **parts}
        write_json(self.path, content)
        self._content = content  # only now: what is not on the disk has not happened


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _machine() -> dict[str, Any]:
    git = git_state(Path(__file__).parent)
    return {"versions": _versions(), "platform": platform.platform(), "cpu_count": os.cpu_count(), "git": git}


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _case(case: Mapping[str, str], root: Path) -> dict[str, str]:
    row = {"case": case["case"]}
    for key in ("image", "label"):
        if key in case:
            path = Path(os.path.abspath(case[key]))
            row[key] = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            row[f"{key}_sha256"] = series_sha256(path) if path.is_dir() else file_sha256(path)
    return row
