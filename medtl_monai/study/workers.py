"""Worker processes that train one job at a time; their death is an outcome like any other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, TypeVar

from medtl_monai.study.job import Failure, Job, Outcome

_RUNS_PER_WORKER = 50  # then a fresh process: whatever a library leaks does not add up
_PARENT_GONE = 3
START_METHOD = "spawn"  # nothing of the main process, such as its threads or random state, reaches a training
Task = TypeVar("Task")


def serve(pipe: Connection, log: str) -> None:
    """Body of a worker process: train what comes through the pipe until it closes.

    It ends at once when the process that started it is gone, however that ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _write_to(log)
    import logging
    import warnings

    import torch

    from medtl_monai.study.training import train

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        start = time.perf_counter()
        try:
            outcome: Outcome = train(job)
        except Exception as error:  # noqa: BLE001  any error of any bundle is a row of the table
            traceback.print_exc()
            outcome = Failure(_one_line(error), time.perf_counter() - start)
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.send(outcome)


def _one_line(error: BaseException) -> str:
    """The error and the innermost of its causes: MONAI wraps what a transform or a configuration raises."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    text = f"{type(error).__name__}: {error}"
    if inner is not error:
        text = f"{type(inner).__name__}: {inner} (through {type(error).__name__})"
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[:1000]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(_PARENT_GONE)


def _write_to(log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


@dataclass
class _Worker(Generic[Task]):
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    task: Task | None = None
    started: float = 0.0
    runs: int = field(default=0)


class Workers(Generic[Task]):
    """At most ``jobs`` worker processes; a context manager that ends them all.

    Args:
        jobs: how many trainings at the same time.
        log: file for what they print.
    """

    def __init__(self, jobs: int, log: Path) -> None:
        self.jobs, self.log = jobs, log
        self._context = multiprocessing.get_context(START_METHOD)
        self._workers: list[_Worker[Task]] = []

    def __enter__(self) -> Workers[Task]:
        return self

    def __exit__(self, *unused: object) -> None:
        for worker in self._workers:
            _end(worker)
        self._workers.clear()

    @property
    def running(self) -> list[Task]:
        """Tasks in work."""
        return [worker.task for worker in self._workers if worker.task is not None]

    @property
    def has_room(self) -> bool:
        """Whether another task may start."""
        return len(self.running) < self.jobs

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def start(self, task: Task, job: Job) -> None:
        """Give a job to an idle worker, or to a new one."""
        worker = self._idle() or self._new()
        worker.task, worker.started = task, time.perf_counter()
        with contextlib.suppress(BrokenPipeError):  # it died while idle: collected as the death of this task
            worker.pipe.send(job)

    def finished(self) -> Iterator[tuple[Task, Outcome]]:
        """Wait until at least one task is done, and yield all that are."""
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        for ready in wait(list(busy)):
            worker = busy[ready]  # type: ignore[index]
            task, worker.task = worker.task, None
            if task is not None:
                yield task, self._collect(worker)

    def _collect(self, worker: _Worker[Task]) -> Outcome:
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            self._workers.remove(worker)
            return Failure(_death(worker.process.exitcode), time.perf_counter() - worker.started)
        worker.runs += 1
        if worker.runs >= _RUNS_PER_WORKER:
            self._workers.remove(worker)
            _end(worker)
        return outcome

    def _idle(self) -> _Worker[Task] | None:
        return next((worker for worker in self._workers if worker.task is None), None)

    def _new(self) -> _Worker[Task]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=serve, args=(theirs, str(self.log)), daemon=True
        )
        process.start()
        theirs.close()
        worker: _Worker[Task] = _Worker(process, ours)
        self._workers.append(worker)
        return worker


def _end(worker: _Worker[Task]) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; perhaps the memory was full" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"
    return f"the worker process ended with code {code}"
