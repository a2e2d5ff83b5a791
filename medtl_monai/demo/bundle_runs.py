"""Run MONAI bundle commands as a user would, one process each, and watch their progress."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.errors import MedTLError
from medtl_monai.workflows.curves import read_curves

_POLL_S = 0.3


@dataclass(frozen=True)
class BundleRun:
    """One ``python -m monai.bundle run``.

    Attributes:
        name: what the user reads.
        configs: configuration files, later ones overlay earlier ones.
        options: command line overrides.
        log: file for its output.
        curves: ``curves.csv`` that tells its progress, for trainings.
        epochs: number of epochs, for trainings.
    """

    name: str
    configs: Sequence[Path]
    options: Mapping[str, object]
    log: Path
    curves: Path | None = None
    epochs: int = 0

    def command(self) -> list[str]:
        """The command line."""
        files = "[" + ",".join(f"'{path}'" for path in self.configs) + "]"
        words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files]
        for name, value in self.options.items():
            words += [f"--{name}", str(value)]
        return words

    def progress(self) -> tuple[float, str]:
        """Share done, 0 to 1, and the latest validation Dice in words."""
        rows = read_curves(self.curves) if self.curves is not None else []
        if not rows:
            return 0.0, ""
        last = rows[-1]
        dice = last.get("val_mean_dice") or ""
        return int(last["epoch"]) / max(self.epochs, 1), f"Dice {float(dice):.3f}" if dice else ""


def run_together(runs: Sequence[BundleRun], show: Callable[[BundleRun, float, str], None]) -> None:
    """Run several commands at the same time, the processor's cores shared between them.

    Raises:
        MedTLError: a command failed; the others are ended, and the end of its log is in the message.
    """
    threads = max(1, min(2, (os.cpu_count() or 1) // len(runs)))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    processes = [_start(run, environment) for run in runs]
    try:
        while any(process.poll() is None for process in processes):
            for run, process in zip(runs, processes, strict=True):
                _require_alive(run, process)
                show(run, *run.progress())
            time.sleep(_POLL_S)
        for run, process in zip(runs, processes, strict=True):
            _require_alive(run, process)
            show(run, 1.0, run.progress()[1])
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _start(run: BundleRun, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("wb") as log:
        return subprocess.Popen(run.command(), stdout=log, stderr=subprocess.STDOUT, env=environment)


def _require_alive(run: BundleRun, process: subprocess.Popen[bytes]) -> None:
    if process.poll() not in (None, 0):
        tail = "\n".join(run.log.read_text(errors="replace").splitlines()[-15:])
        raise MedTLError(f"{run.name} failed (exit status {process.returncode})", path=run.log, got=f"\n{tail}\n")
