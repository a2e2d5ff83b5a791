"""A real MONAI Label server as a process group of its own, and the client class of the Slicer plugin."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

START_S, STOP_S = 240, 20
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    # Proxies would see requests that are for this machine only.
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@dataclass
class Server:
    """A running server: its address, folders, log, and the Slicer plugin's client and its error."""

    process: subprocess.Popen[bytes]
    url: str
    app: Path
    studies: Path
    log: Path
    client: Any
    refusal: type[Exception]

    def text(self) -> str:
        """Everything the server has said."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """End the server and what it started, first kindly."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)  # its own group: see start_server
                self.process.wait(STOP_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``condition``; asks twice a second. Raises AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"no {what} within {seconds} s")


def prefix_of(python: Path) -> Path:
    """The environment's folder."""
    return python.parent.parent


def plugin_client(prefix: Path) -> ModuleType:
    """The client module of the Slicer plugin that MONAI Label's wheel carries."""
    path = prefix / "monailabel" / "plugins" / "slicer" / "MONAILabel" / "MONAILabelLib" / "client.py"
    spec = importlib.util.spec_from_file_location("slicer_plugin_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(python: Path, folder: Path, studies: Path, bundles: Sequence[Path], words: Sequence[str]) -> Server:
    """``medtl label`` in the Label environment; returns when the server answers."""
    port, app, log = free_port(), folder / "app", folder / "server.log"
    command = [str(python), "-m", "medtl_monai.cli", "label", "--app", app, "--studies", studies, "--port", str(port)]
    command += ["--bundle", *bundles, *words]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    plugin = plugin_client(prefix_of(python))
    client = plugin.MONAILabelClient(url, tmpdir=str(folder))
    server = Server(process, url, app, studies, log, client, plugin.MONAILabelClientException)
    try:
        wait_for(lambda: process.poll() is not None or _answers(port), START_S, "server")
        assert process.poll() is None, server.text()[-3000:]
    except BaseException:
        server.stop()
        raise
    return server


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
