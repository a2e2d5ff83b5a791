"""A server for weights files, and a weights folder of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_server import serve


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a server whose first path part says how it behaves."""
    with serve() as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own weights folder, not there yet; online; no proxy between the test and its server."""
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path / "cache" / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MEDTL_OFFLINE", raising=False)
    return tmp_path / "cache" / "weights"
