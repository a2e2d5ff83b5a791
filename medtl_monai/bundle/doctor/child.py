"""What happens inside a child process: no network, one thread, output into a file; then one command or one row."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
_CALLS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")
_ROOM = "medtl_monai.bundle.doctor"
NO_NETWORK = "no network here"


def run_command(words: list[str], folder: str, log: str) -> None:
    """Run ``python -m monai.bundle WORDS`` in a folder; the exit status is the command's."""
    _enter(folder, log)
    sys.path.insert(0, "")  # as python -m does
    sys.argv = ["monai.bundle", *words]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def run_row(function: str, bundle: str, data: dict[str, Any], folder: str, log: str, result: str) -> None:
    """Call ``MODULE.FUNCTION(subject, data)`` of this package and write its outcome to ``result``."""
    _enter(folder, log)
    from medtl_monai.bundle.doctor.subject import Subject

    if (Path(bundle) / "scripts").is_dir():
        sys.path.insert(0, bundle)  # as MONAI does where it runs a bundle
    module, _, name = function.rpartition(".")
    outcome = getattr(importlib.import_module(f"{_ROOM}.{module}"), name)(Subject(Path(bundle)), data)
    Path(result).write_text(json.dumps(outcome.as_json()))


def _enter(folder: str, log: str) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # so that the children of a hanging row end with it
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.update(ENVIRONMENT)
    import torch

    torch.set_num_threads(1)
    os.chdir(folder)
    sys.addaudithook(_refuse_network)


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _CALLS:
        return
    address = arguments[1] if event.startswith(("socket.connect", "socket.send")) else arguments[0]
    if isinstance(address, str | bytes) and event == "socket.connect":
        return  # a socket of this machine, such as those between the workers of a loader
    if event in ("socket.sendto", "socket.sendmsg") and not isinstance(address, tuple):
        return
    raise PermissionError(f"{NO_NETWORK}: {event} {address!r}")
