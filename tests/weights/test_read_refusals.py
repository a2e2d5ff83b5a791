"""Refusals say what is wrong with the file, and never advise to switch the safety off."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.weights.read import read_state


def old(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def new(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def script() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), stream)
    return stream.getvalue()


class Payload:
    """Unpickling this makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


REASONS = {
    "empty": (b"", "0 bytes.*: empty"),
    "web page": (b"\n<html><body>404</body></html>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a git-lfs pointer"),
    "cut zip": (new({"a": torch.ones(500)})[:-50], "cut off: the directory at the end of the zip file is missing"),
    "cut old": (old({"a": torch.ones(500)})[:-50], "expected 50 more bytes|cut off"),
    "network, zip": (
        new(nn.Linear(2, 2)),
        r"a whole pickled network \(torch\.nn\.modules\.linear\.Linear\).*state_dict",
    ),
    "network, old": (
        old(nn.Linear(2, 2)),
        r"a whole pickled network \(torch\.nn\.modules\.linear\.Linear\).*state_dict",
    ),
    "network inside": (new({"model": nn.Linear(2, 2)}), "a whole pickled network"),
    "code, zip": (new({"a": Payload("folder")}), "it asks for posix.mkdir, which is code"),
    "code, old": (old({"a": Payload("folder")}), "it asks for posix.mkdir, which is code"),
    "code, bare": (pickle.dumps(Payload("folder"), protocol=2), "it asks for posix.mkdir, which is code"),
    "script": (script(), "a TorchScript archive, which holds code"),
    "prefixes": (new({"module.module.a": torch.ones(2)}), "two `module.` in front.*expected at most one `module.`"),
    "numbers": (new({"a": torch.ones(2), "b": 3}), r"1 other entries \(b\)"),
    "nothing": (new({}), "got nothing"),
    "infinite": (new({"a": torch.tensor([1.0, float("inf")])}), r"NaN or infinite values; .*1 tensors \(a\)"),
}


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:`torch.jit", "ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", REASONS)
def test_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    content, reason = REASONS[kind]
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=reason) as caught:
        read_state("a.pth")
    assert not (tmp_path / "folder").exists()
    for advice in ("weights_only=False", "add_safe_globals", "trust", "\033"):
        assert advice not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "old"])
def test_cut_anywhere(tmp_path: Path, kind: str) -> None:
    """No prefix of a file is taken for the file."""
    state = {"conv.weight": torch.randn(3, 2, 3, 3, 3), "conv.bias": torch.randn(3), "steps": torch.tensor(7)}
    content = (new if kind == "zip" else old)(state)
    path = tmp_path / "a.pth"
    for length in [*range(0, len(content), 41), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="cannot be read"):
            read_state(path)


def test_large_finite_values_are_no_infinities(tmp_path: Path) -> None:
    """Their sum overflows."""
    state = {
        "half": torch.full((9,), 6e4).half(),
        "single": torch.full((9,), 3e38),
        "8 bit": torch.ones(2).to(torch.float8_e5m2),
    }
    torch.save(state, tmp_path / "a.pt")
    assert list(read_state(tmp_path / "a.pt")) == list(state)
    torch.save({"8 bit": torch.tensor([float("nan")]).to(torch.float8_e5m2)}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="NaN"):
        read_state(tmp_path / "a.pt")


def test_plus_and_minus_infinity(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([float("inf"), -float("inf")])}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="NaN or infinite"):
        read_state(tmp_path / "a.pt")


def with_pickle(path: Path, replace: tuple[bytes, bytes]) -> None:
    """Rewrite the description inside a zip file; its checksum is made good."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            assert not name.endswith("data.pkl") or content.count(replace[0]) == 1
            archive.writestr(name, content.replace(*replace) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize(
    ("wanted", "planted"),
    [
        (b"M\xe8\x03\x85q", b"M\xe9\x03\x85q"),  # shape (1001,)
        (b"K\x01\x85q", b"K\x02\x85q"),  # stride (2,)
        (b"K\x00M\xe8\x03\x85", b"K\x01M\xe8\x03\x85"),  # begins at 1
        (b"K\x00M\xe8\x03\x85", b"J" + struct.pack("<i", -1) + b"M\xe8\x03\x85"),  # begins at -1
    ],
    ids=["shape", "stride", "offset", "negative"],
)
def test_a_tensor_larger_than_its_storage(tmp_path: Path, wanted: bytes, planted: bytes) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.arange(1000.0), "b": torch.arange(1000.0)[:3]}, path)
    with zipfile.ZipFile(path) as archive:
        assert wanted in archive.read("a/data.pkl")
    torch.save({"a": torch.arange(1000.0)}, path)
    with_pickle(path, (wanted, planted))
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state(path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(new({"a": torch.ones(2)}))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(WeightsError, match=r"cannot be read.*PermissionError"):
        read_state(path)
