"""Fetching over a real HTTP server on this machine: whole and verified, or absent with the way out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from weights_server import CONTENT, LOGIN_PAGE, NAME, left_in, row_at

from medtl_monai.errors import OutputError, WeightsError
from medtl_monai.weights import download as download_module
from medtl_monai.weights.fetch import fetch, find_local, import_file, locate, verify, weights_folder
from medtl_monai.weights.registry import pretrained

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("behaviour", ["good", "moved", "unannounced"])
def test_a_download_is_whole_and_verified(server: str, folder: Path, behaviour: str) -> None:
    path = fetch(row_at(f"{server}/{behaviour}/{NAME}"))
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert left_in(folder) == [NAME]


def test_a_local_file_needs_no_network(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = locate(row_at(f"{server}/good/{NAME}"))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    assert locate(row_at(f"{server}/missing/{NAME}")) == first


@pytest.mark.parametrize("behaviour", ["wrong", "longer", "login", "half"])
def test_other_bytes_never_get_the_name(server: str, folder: Path, behaviour: str) -> None:
    with pytest.raises(WeightsError) as caught:
        locate(row_at(f"{server}/{behaviour}/{NAME}"))
    assert left_in(folder) == []
    text = str(caught.value)
    assert ("connection lost 38,400 bytes before the end" if behaviour == "half" else "something else") in text
    assert "medtl weights import FILE" in text


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("missing", "404"), ("broken", "503"), ("garbage", "BadStatusLine"), ("hang-up", "RemoteDisconnected")],
)
def test_failed_downloads_leave_nothing(server: str, folder: Path, behaviour: str, reason: str) -> None:
    with pytest.raises(WeightsError, match=f"the download failed .*{reason}"):
        fetch(row_at(f"{server}/{behaviour}/{NAME}"))
    assert left_in(folder) == []


def test_nobody_listens(server: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"the download failed .*refused"):
        fetch(row_at(f"http://127.0.0.1:1/{NAME}"))
    assert left_in(folder) == []


def test_a_server_that_stalls(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.3)
    with pytest.raises(WeightsError, match=r"the download failed .*timed out"):
        fetch(row_at(f"{server}/stall/{NAME}"))
    assert left_in(folder) == []


def test_a_failure_keeps_the_file_that_is_there(server: str, folder: Path) -> None:
    fetch(row_at(f"{server}/good/{NAME}"))
    for behaviour in ("wrong", "half", "missing"):
        with pytest.raises(WeightsError):
            fetch(row_at(f"{server}/{behaviour}/{NAME}"))
    assert (folder / NAME).read_bytes() == CONTENT
    assert left_in(folder) == [NAME]


def test_a_new_file_takes_the_place_of_an_old_one_in_one_step(server: str, folder: Path) -> None:
    """Whoever reads the old file at that moment reads on in the old file."""
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(LOGIN_PAGE)
    with (folder / NAME).open("rb", buffering=0) as reader:
        start = reader.read(10)
        fetch(row_at(f"{server}/good/{NAME}"))
        assert start + reader.read() == LOGIN_PAGE
    assert (folder / NAME).read_bytes() == CONTENT


def test_a_disk_that_fills_up_leaves_nothing(server: str, folder: Path) -> None:
    """A limit on the size of files stands for the full disk: the write stops half-way, with an OSError."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(OutputError, match=rf"cannot write the file; got EFBIG .*{NAME}"):
            fetch(row_at(f"{server}/good/{NAME}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(folder) == []


def test_offline_says_what_to_do(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    row = row_at(f"{server}/good/{NAME}")
    with pytest.raises(WeightsError) as caught:
        locate(row)
    text = str(caught.value)
    for part in (row.url, str(folder), NAME, "medtl weights import FILE", "MEDTL_WEIGHTS", "--source scratch"):
        assert part in text
    assert not folder.exists()


@pytest.mark.parametrize("planted", [CONTENT[: len(CONTENT) // 2], b"", LOGIN_PAGE, CONTENT + b"\x00"])
def test_a_damaged_file_at_the_final_name_is_refused(server: str, folder: Path, planted: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(planted)
    row = row_at(f"{server}/good/{NAME}")
    with pytest.raises(WeightsError, match="not the published file") as caught:
        locate(row)
    text = str(caught.value)
    for part in (row.sha256, f"{len(planted)} bytes", hashlib.sha256(planted).hexdigest(), str(folder / NAME), row.url):
        assert part in text
    assert (folder / NAME).read_bytes() == planted, "the user's file is not touched"


def test_two_processes_fetch_at_the_same_time(server: str, folder: Path) -> None:
    script = (
        "import sys; from dataclasses import replace\n"
        "from medtl_monai.weights.fetch import fetch; from medtl_monai.weights.registry import pretrained\n"
        "url, sha256, size = sys.argv[1:]\n"
        "print(fetch(replace(pretrained('highres3dnet_gif'), url=url, sha256=sha256, size_bytes=int(size))))"
    )
    row = row_at(f"{server}/both/{NAME}")
    command = [sys.executable, "-c", script, row.url, row.sha256, str(row.size_bytes)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    outputs = [process.communicate(timeout=90)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == [str(folder / NAME)] * 2
    assert (folder / NAME).read_bytes() == CONTENT
    assert left_in(folder) == [NAME]


def test_import_recognises_the_real_file_by_its_hash(real_weights: Path, folder: Path, tmp_path: Path) -> None:
    row = pretrained("highres3dnet_gif")
    original = real_weights / "highres3dnet" / row.file_name
    renamed = tmp_path / "download (1).bin"
    renamed.write_bytes(original.read_bytes())
    assert import_file(renamed) == (row, folder / row.file_name)
    assert locate(row).read_bytes() == original.read_bytes()
    assert left_in(folder) == [row.file_name]
    assert import_file(str(renamed))[1] == folder / row.file_name, "a second time does no harm"


@pytest.mark.parametrize("cut", [0, 1000, 3_329_774])
def test_import_refuses_a_wrong_file(real_weights: Path, folder: Path, tmp_path: Path, cut: int) -> None:
    row = pretrained("highres3dnet_gif")
    wrong = tmp_path / row.file_name
    wrong.write_bytes((real_weights / "highres3dnet" / row.file_name).read_bytes()[:cut])
    with pytest.raises(WeightsError, match=rf"not a file of the registry; expected .*{row.sha256[:16]}.*--source FILE"):
        import_file(wrong)
    assert not folder.exists()


def test_import_of_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights file not found"):
        import_file(tmp_path / "nothing.pth")


def test_a_folder_that_cannot_be_made(
    server: str, real_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(OutputError, match=r"cannot make the weights folder; .*set MEDTL_WEIGHTS"):
        fetch(row_at(f"{server}/good/{NAME}"))
    with pytest.raises(OutputError, match="cannot make the weights folder"):
        import_file(real_weights / "highres3dnet" / pretrained("highres3dnet_gif").file_name)


def test_find_local_looks_one_folder_deep(folder: Path) -> None:
    row = row_at(f"http://127.0.0.1:1/{NAME}")
    assert find_local(row) is None
    deep = folder / "a" / "b" / NAME
    deep.parent.mkdir(parents=True)
    deep.write_bytes(CONTENT)
    (folder / NAME).mkdir()  # a folder of that name is no file
    assert find_local(row) is None
    (folder / "a" / NAME).write_bytes(CONTENT)
    assert find_local(row) == folder / "a" / NAME


def test_rows_found_in_the_real_folder(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    for row in map(pretrained, ("highres3dnet_gif", "imagenet_squeezenet1_0_pruned")):
        path = locate(row)
        verify(row, path)
        assert path.name == row.file_name


def test_weights_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MEDTL_WEIGHTS", "~/mine")
    assert weights_folder() == tmp_path / "mine"
    monkeypatch.setenv("MEDTL_WEIGHTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert weights_folder() == tmp_path / "xdg" / "medtl_monai" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_folder() == tmp_path / ".cache" / "medtl_monai" / "weights"
