"""The hash is that of the bytes which became tensors, also while somebody writes to the file."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.weights.read import read_state, read_state_with_hash


def written(folder: Path, kind: str, value: float = 1.0, length: int = 300_000) -> Path:
    """A file over two hashing pieces (1/2 MB) long, every value the same."""
    path = folder / ("a.safetensors" if kind == "safetensors" else "a.pth")
    state = {"a": torch.full((length,), value), "b": torch.full((3,), value)}
    if kind == "safetensors":
        path.write_bytes(safetensors.torch.save(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    return path


KINDS = ["zip", "old", "safetensors"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("digits", [None, 8, 16, 64])
def test_the_hash_of_the_file(tmp_path: Path, kind: str, digits: int | None) -> None:
    path = written(tmp_path, kind)
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = None if digits is None else known[:digits].upper()
    state, sha256 = read_state_with_hash(path, expected)
    assert sha256 == known
    assert torch.equal(state["a"], read_state(path)["a"])


@pytest.mark.parametrize("kind", KINDS)
def test_another_file_than_expected(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    wrong = known[:7] + ("0" if known[7] != "0" else "1")
    with pytest.raises(
        WeightsError, match=f"not the expected one; expected sha256 {wrong}, got .* bytes, sha256 {known}"
    ):
        read_state_with_hash(path, wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_one_flipped_bit_in_a_tensor(tmp_path: Path, kind: str) -> None:
    """The older kind and safetensors have no checksums: there it takes a known hash to see it."""
    path = written(tmp_path, kind)
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not the expected one"):
        read_state_with_hash(path, known)
    if kind == "zip":
        for read in (read_state, read_state_with_hash):
            with pytest.raises(WeightsError, match=r"cannot be read; .*altered: the CRC-32 of a/data/0 does not match"):
                read(path)
    else:
        assert not torch.equal(read_state(path)["a"], torch.ones(300_000))


def test_a_wrong_hash_is_told_before_what_else_is_wrong(tmp_path: Path) -> None:
    """A cut download: that the file is not the published one says more than where the reader stumbled."""
    path = written(tmp_path, "zip")
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not the expected one") as caught:
        read_state_with_hash(path, known)
    assert "cut off" in str(caught.value.__cause__)


def test_known_hash_does_not_excuse_bad_values(tmp_path: Path) -> None:
    path = written(tmp_path, "old", float("nan"))
    with pytest.raises(WeightsError, match="NaN"):
        read_state_with_hash(path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("expected", ["", "1234567", "x" * 64, "0" * 65, "sha256:" + "0" * 64])
def test_what_is_no_hash(tmp_path: Path, expected: str) -> None:
    with pytest.raises(ValueError, match="8 to 64 hex digits"):
        read_state_with_hash(written(tmp_path, "zip"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_rewritten_meanwhile(tmp_path: Path, kind: str) -> None:
    """Two contents of the same size, written in place in turn: a reader may see one, the other or a mixture."""
    contents = {}
    for value in (1.0, 2.0):
        content = written(tmp_path, kind, value).read_bytes()
        contents[hashlib.sha256(content).hexdigest()] = (value, content)
    path, stop = written(tmp_path, kind), threading.Event()

    def rewrite() -> None:
        with path.open("r+b", buffering=0) as stream:
            while not stop.is_set():
                for _, content in contents.values():
                    for begin in range(0, len(content), 100_000):
                        stream.seek(begin)
                        stream.write(content[begin : begin + 100_000])

    thread = threading.Thread(target=rewrite)
    thread.start()
    mixtures = reads = 0
    try:
        while reads < 30 or (mixtures == 0 and reads < 1000):
            reads += 1
            try:
                state, sha256 = read_state_with_hash(path)
            except WeightsError:  # the checksums of a zip file
                mixtures += 1
                continue
            values = {float(value) for tensor in state.values() for value in tensor.unique()}
            if sha256 in contents:
                assert values == {contents[sha256][0]}
            else:
                mixtures += 1
                assert kind != "zip"
    finally:
        stop.set()
        thread.join()
    assert mixtures > 0, "the readers were disturbed"
