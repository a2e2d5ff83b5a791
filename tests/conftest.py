"""Shared fixtures: one torch thread per process, and the real data where they exist."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

PROJECT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)


def _shared(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable, PROJECT.parent / "shared" / name)).resolve()


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the project."""
    return PROJECT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real scans (environment variable MEDTL_DATA)."""
    folder = _shared("MEDTL_DATA", "data")
    if not folder.is_dir():
        pytest.skip("no real data: set MEDTL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """Folder with the real pretrained weights (environment variable MEDTL_WEIGHTS)."""
    folder = _shared("MEDTL_WEIGHTS", "weights")
    if not folder.is_dir():
        pytest.skip("no real weights: set MEDTL_WEIGHTS to their folder")
    return folder


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 1 MiB; skipped where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, for networks in DistributedDataParallel."""
    if not dist.is_available():
        pytest.skip("torch without torch.distributed")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
