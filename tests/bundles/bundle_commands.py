"""MONAI's bundle commands as processes of their own, without the seconds that a new interpreter takes to import torch.

A clean server process imports the libraries once and forks; the child sets ``sys.argv`` and runs the module
``monai.bundle`` as ``python -m monai.bundle`` does. ``test_commands.py`` runs the same through new interpreters.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PRELOADED = ["torch", "monai.bundle.scripts", "monai.engines", "monai.handlers", "nibabel", "pydicom", "fire"]
TIMEOUT_S = 300
QUICK = {"epochs": 1, "patch_size": "[16,16,16]"}  # of the bundle command train
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # equal bits are promised for CPUs


@dataclass(frozen=True)
class Finished:
    """Exit code and everything that a command printed."""

    code: int
    output: str


def words(verb: str, options: Mapping[str, object]) -> list[str]:
    """A verb and its options as command-line words."""
    return [verb, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


@dataclass(frozen=True)
class Running:
    """A command that has been started."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def finish(self) -> Finished:
        """Wait for its end; kill it after TIMEOUT_S."""
        self.process.join(TIMEOUT_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return Finished(self.process.exitcode or 0, self.log.read_text(errors="replace"))


def start_fork(arguments: Sequence[str], folder: Path, logs: Path, environment: Mapping[str, str]) -> Running:
    """Start ``python -m monai.bundle ARGUMENTS`` in a folder, forked from the preloaded server."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(PRELOADED)  # type: ignore[attr-defined]
    log = logs / f"{uuid.uuid4().hex}.log"
    process = context.Process(  # type: ignore[attr-defined]
        target=_child, args=(list(arguments), str(folder), str(log), dict(environment))
    )
    process.start()
    return Running(process, log)


def in_new_interpreter(arguments: Sequence[str], folder: Path, module: Sequence[str] = ("monai.bundle",)) -> Finished:
    """Run ``python -m MODULE ARGUMENTS`` in a folder."""
    command = [sys.executable, "-m", *module, *arguments]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
    )
    return Finished(done.returncode, done.stdout + done.stderr)


def _child(arguments: list[str], folder: str, log: str, environment: dict[str, str]) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    import torch

    torch.set_num_threads(1)
    os.environ.update(ENVIRONMENT | environment)
    os.chdir(folder)
    sys.argv = ["monai.bundle", *arguments]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
