"""Whole or absent: on a full disk, past a file size limit, in a folder that is closed, and under kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medtl_monai.errors import OutputError
from medtl_monai.io.atomic import atomic_write, write_bytes, write_json, write_text

FILL = 4096


def visible_and_hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_bytes_text_and_json(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"\x00\x01")
    write_text(tmp_path / "a.txt", "Größe 3 mm\n")
    write_json(tmp_path / "a.json", {"b": [1.5, None], "a": "ü"})
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "a.txt").read_bytes() == "Größe 3 mm\n".encode()
    assert list(json.loads((tmp_path / "a.json").read_text()).items()) == [("b", [1.5, None]), ("a", "ü")]
    assert visible_and_hidden(tmp_path) == ["a.bin", "a.json", "a.txt"]


def test_temporary_name_is_hidden_beside_the_file_and_keeps_the_suffixes(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with atomic_write(tmp_path / "a.nii.gz") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.name.startswith(".")
            assert temporary.name.endswith(".nii.gz")
            temporary.touch()
            names.add(temporary.name)
    assert len(names) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_in_the_body_keeps_the_older_file(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert visible_and_hidden(tmp_path) == ["a.txt"]


def test_failing_check_keeps_the_older_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def check(path: Path) -> None:
        raise OutputError("reads back differently", path=path)

    def write() -> None:
        with atomic_write(tmp_path / "a.txt", check=check) as temporary:
            temporary.write_text("new")

    with pytest.raises(OutputError, match="reads back differently"):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert visible_and_hidden(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_what_is_not_json_writes_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(OutputError, match="not JSON"):
        write_json(tmp_path / "a.json", {"x": value})
    assert visible_and_hidden(tmp_path) == []


def test_missing_folder_and_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ENOENT.*create the output folder.*absent/a\.txt"):
        write_text(tmp_path / "absent" / "a.txt", "x")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="EISDIR"):
        write_text(tmp_path / "taken", "x")
    write_text(tmp_path / "file", "x")
    with pytest.raises(OutputError, match="ENOTDIR"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_full_disk(tiny_disk: Path) -> None:
    write_text(tiny_disk / "a.bin", "old")
    with pytest.raises(OutputError, match=rf"ENOSPC.*free space.*{tiny_disk}/a\.bin"):
        write_bytes(tiny_disk / "a.bin", bytes(2 * 2**20))
    assert (tiny_disk / "a.bin").read_text() == "old"
    assert visible_and_hidden(tiny_disk) == ["a.bin"]


def test_read_only_disk(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(OutputError, match=r"EROFS.*choose an output folder"):
        write_text(tiny_disk / "a.txt", "x")


def test_file_size_limit() -> None:
    """The same without root: a limit on file size stands in for the full disk."""
    code = """
import resource, sys, tempfile, pathlib
from medtl_monai.errors import OutputError
from medtl_monai.io.atomic import write_bytes
folder = pathlib.Path(tempfile.mkdtemp())
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
write_bytes(folder / "small", bytes(2**10))
try:
    write_bytes(folder / "large", bytes(2**20))
except OutputError as error:
    sys.exit(0 if "EFBIG" in str(error) and [p.name for p in folder.iterdir()] == ["small"] else 2)
sys.exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def writer_process(path: Path) -> subprocess.Popen[bytes]:
    """A process that writes one JSON file again and again."""
    code = f"""
from medtl_monai.io.atomic import write_json
n = 0
while True:
    n += 1
    write_json({str(path)!r}, {{"n": n, "fill": [n] * {FILL}}})
"""
    return subprocess.Popen([sys.executable, "-c", code])


def test_kill_at_random_moments_leaves_a_whole_file(tmp_path: Path) -> None:
    path, rng = tmp_path / "state.json", np.random.default_rng(0)
    for _ in range(30):
        path.unlink(missing_ok=True)
        process = writer_process(path)
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.02)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        state = json.loads(path.read_text())
        assert state["fill"] == [state["n"]] * FILL


def test_kill_in_the_middle_of_writing_keeps_the_older_file(tmp_path: Path) -> None:
    """The worst moment, on purpose: half of the file is on the disk when the process dies."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = f"""
import os, signal
from medtl_monai.io.atomic import atomic_write
with atomic_write({str(path)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert [name for name in visible_and_hidden(tmp_path) if not name.startswith(".")] == ["a.txt"]
