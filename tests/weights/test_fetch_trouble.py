"""Fetching when things go wrong: kill, full disk, slow lines, two at once, big files, other people's caches."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from weights_server import BIG, CONTENT, LOGIN_PAGE, NAME, TIMES, left_in, row_at

from medtl_monai.errors import OutputError, WeightsError
from medtl_monai.weights.fetch import fetch, find_local, import_file, is_offline, locate, obtain, require_hash, verify
from medtl_monai.weights.registry import REGISTRY, pretrained

pytestmark = pytest.mark.usefixtures("folder")
SCRIPT = """
import sys; from dataclasses import replace
from medtl_monai.weights.fetch import fetch; from medtl_monai.weights.registry import pretrained
url, sha256, size = sys.argv[1:]
print(fetch(replace(pretrained('highres3dnet_gif'), name='tiny', url=url, sha256=sha256, size_bytes=int(size))))
"""


def fetch_command(url: str, content: bytes = BIG) -> list[str]:
    return [sys.executable, "-c", SCRIPT, url, sha256(content).hexdigest(), str(len(content))]


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_processes_write_at_the_same_time(server: str, folder: Path) -> None:
    command = fetch_command(f"{server}/slow/{NAME}")
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    wait_for(lambda: len(list(folder.glob(f".*-{NAME}"))) == 2)
    assert find_local(row_at(f"{server}/slow/{NAME}")) is None, "what is half written has no name yet"
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == [str(folder / NAME)] * 2
    assert (folder / NAME).read_bytes() == BIG
    assert left_in(folder) == [NAME]


def test_a_kill_in_the_middle_leaves_no_file_and_harms_no_later_fetch(server: str, folder: Path) -> None:
    process = subprocess.Popen(fetch_command(f"{server}/hold/{NAME}"))
    wait_for(lambda: any(path.stat().st_size > 1 << 20 for path in folder.glob(f".*-{NAME}")))
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL
    row = row_at(f"{server}/big/{NAME}", BIG)
    assert find_local(row) is None
    left = left_in(folder)
    assert len(left) == 1, "the half that was written"
    assert locate(row).read_bytes() == BIG
    assert left_in(folder) == sorted([NAME, *left]), "it could belong to a live download"
    os.utime(folder / left[0], (0, time.time() - 25 * 3600))
    assert fetch(row) == folder / NAME
    assert left_in(folder) == [NAME], "no live download is a day old"


def test_a_sweep_spares_what_is_not_its_own(server: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    others = (f".0123456789ab-other-{NAME}", f".mine-{NAME}", f"0123456789ab-{NAME}")
    for name in others:
        (folder / name).write_bytes(b"mine")
        os.utime(folder / name, (0, 0))
    fetch(row_at(f"{server}/good/{NAME}"))
    assert left_in(folder) == sorted([NAME, *others])


@pytest.mark.parametrize("behaviour", ["half", "wrong", "hang-up"])
def test_a_failed_fetch_harms_no_later_one(server: str, folder: Path, behaviour: str) -> None:
    with pytest.raises(WeightsError):
        fetch(row_at(f"{server}/{behaviour}/{NAME}"))
    assert fetch(row_at(f"{server}/good/{NAME}")).read_bytes() == CONTENT


def test_a_full_disk(server: str, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tiny_disk))
    row = row_at(f"{server}/big/{NAME}", BIG)
    with pytest.raises(OutputError, match=r"ENOSPC .*free space"):
        fetch(row)
    assert left_in(tiny_disk) == []
    (tmp_path / "mine.pth").write_bytes(BIG)
    monkeypatch.setitem(REGISTRY, row.name, row)
    with pytest.raises(OutputError, match=r"ENOSPC .*free space"):
        import_file(tmp_path / "mine.pth")
    assert left_in(tiny_disk) == []
    assert fetch(row_at(f"{server}/good/{NAME}")).read_bytes() == CONTENT


def test_memory_does_not_grow_with_the_file(
    server: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, size = sha256(), len(BIG) * TIMES
    for _ in range(TIMES):
        digest.update(BIG)
    row = replace(row_at(f"{server}/huge/{NAME}"), sha256=digest.hexdigest(), size_bytes=size)
    monkeypatch.setitem(REGISTRY, row.name, row)
    tracemalloc.start()
    try:
        path = locate(row)
        locate(row)
        path.rename(tmp_path / "mine.pth")
        import_file(tmp_path / "mine.pth")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == size
    assert peak < size / 8


@pytest.mark.parametrize(("size", "enough"), [(len(BIG) // 2, True), (len(BIG) // 2 - 1, False)])
def test_a_download_is_cut_off_at_twice_the_published_size(server: str, folder: Path, size: int, enough: bool) -> None:
    row = replace(row_at(f"{server}/big/{NAME}", BIG), size_bytes=size)
    if enough:
        fetch(row)
        return
    with pytest.raises(WeightsError, match=rf"answered with more than {2 * size:,} bytes: something else"):
        fetch(row)
    assert left_in(folder) == []


@pytest.mark.parametrize(("parameters", "enough"), [(len(BIG) // 16, True), (len(BIG) // 16 - 1, False)])
def test_without_a_published_size_four_times_the_parameters(
    server: str, folder: Path, parameters: int, enough: bool
) -> None:
    row = replace(row_at(f"{server}/big/{NAME}", BIG), size_bytes=None, parameters=parameters)
    if enough:
        assert fetch(row).read_bytes() == BIG
    else:
        with pytest.raises(WeightsError, match="something else"):
            fetch(row)


@pytest.mark.parametrize(
    ("value", "offline"),
    [("", False), ("0", False), ("false", False), ("False", False), ("1", True), ("true", True), ("yes", True)],
)
def test_what_offline_means(
    server: str, folder: Path, value: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDTL_OFFLINE", value)
    assert is_offline() == offline
    if offline:
        with pytest.raises(WeightsError, match="MEDTL_OFFLINE is set"):
            fetch(row_at(f"{server}/good/{NAME}"))
    else:
        fetch(row_at(f"{server}/good/{NAME}"))


def test_a_hash_prefix_is_checked_like_a_hash(server: str, folder: Path) -> None:
    row = row_at(f"{server}/good/{NAME}")
    short = replace(row, sha256=row.sha256[:8], size_bytes=len(CONTENT) + 400, size_tolerance=525)
    assert verify(short, fetch(short)) == row.sha256, "the full hash of the file in use"
    other = "0" * 8 if row.sha256[0] != "0" else "1" * 8
    with pytest.raises(WeightsError, match=rf"about .* sha256 that begins with {other}, got .*{row.sha256}"):
        locate(replace(short, sha256=other))


def test_torch_hub_files_are_found_by_rows_whose_names_carry_the_hash(
    server: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchvision's downloads lie there; a name such as resnet_10.pth could be anybody's."""
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    row = row_at(f"{server}/good/{NAME}")
    named = replace(row, sha256=row.sha256[:8], stored_as=f"net-{row.sha256[:8]}.pth")
    for name in (NAME, named.file_name):
        (hub / name).write_bytes(CONTENT)
    assert find_local(row) is None
    assert locate(named) == hub / named.file_name
    (hub / named.file_name).write_bytes(LOGIN_PAGE)
    with pytest.raises(WeightsError, match=rf"not the published file; .*{hub / named.file_name}"):
        locate(named)
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_local(named) == hub / named.file_name
    assert pretrained("imagenet_resnet18").name_carries_hash
    assert not pretrained("medicalnet_resnet10").name_carries_hash


def test_obtain_leaves_the_check_to_the_reader(server: str, folder: Path) -> None:
    row = row_at(f"{server}/good/{NAME}")
    assert obtain(row).read_bytes() == CONTENT, "a download is verified all the same"
    (folder / NAME).write_bytes(LOGIN_PAGE)
    assert obtain(row) == folder / NAME
    with pytest.raises(WeightsError, match="not the published file"):
        require_hash(row, sha256(LOGIN_PAGE).hexdigest(), folder / NAME)
    require_hash(row, sha256(CONTENT).hexdigest(), folder / NAME)


def test_converted_weights_are_imported_never_fetched(real_weights: Path, folder: Path, tmp_path: Path) -> None:
    row = pretrained("imagenet_squeezenet1_0_pruned")
    with pytest.raises(WeightsError, match=r"cannot be downloaded, because they were converted; .*import FILE"):
        locate(row)
    assert not folder.exists()
    original = real_weights / "squeezenet1_0" / row.file_name
    copy = tmp_path / "any name.bin"
    copy.write_bytes(original.read_bytes())
    copy.chmod(0o400)
    assert import_file(copy) == (row, folder / row.file_name)
    assert locate(row).read_bytes() == original.read_bytes() == copy.read_bytes()
    before = (folder / row.file_name).stat()
    assert import_file(folder / row.file_name)[1] == folder / row.file_name
    assert (folder / row.file_name).stat() == before, "what is in its place stays there"


def test_a_terminal_sees_the_progress(server: str, folder: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        subprocess.run(fetch_command(f"{server}/big/{NAME}"), stderr=theirs, check=True, timeout=60)
        shown = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.search(r"tiny .*4\.0/4\.0 MB", shown)


def test_elsewhere_nothing_is_printed(server: str, folder: Path) -> None:
    result = subprocess.run(fetch_command(f"{server}/big/{NAME}"), capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == (f"{folder / NAME}\n", "")
