"""The reader of pickles makes plain values or gives up, whatever it is fed."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.weights.pickled import read_pickle
from medtl_monai.weights.read import DAMAGED_FILE_ERRORS, read_state
from medtl_monai.weights.references import NotPlainError, TensorRef

PLAIN = {
    "number": 3,
    "negative": -70_000,
    "large": 2**70,
    "fraction": 0.1,
    "text": "Größe",
    "nothing": None,
    "flags": (True, False),
    "list": [1, [2, 3], ()],
    "long list": list(range(300)),
    "tuple": (1, 2, 3, 4, 5),
    5: {"inner": {}},
}


def test_plain_values() -> None:
    content = b"before" + pickle.dumps(PLAIN, protocol=2) + b"after"
    value, end = read_pickle(content, 6)
    assert value == PLAIN
    assert content[end:] == b"after"


def test_a_value_that_comes_twice_is_one() -> None:
    inner: list[int] = []
    value, _ = read_pickle(pickle.dumps((inner, inner), protocol=2))
    value[0].append(1)
    assert value[1] == [1]


class Call:
    """Unpickles by calling ``print``."""

    def __reduce__(self) -> tuple:
        return print, ("called",)


class State:
    """Unpickles by a new object and a state."""


STRANGE = {
    "call": pickle.dumps(Call(), 2),
    "object": pickle.dumps(State(), 2),
    "class": pickle.dumps(State, 2),
    "counter": pickle.dumps(Counter("a"), 2),
    "set": pickle.dumps({1}, 2),
    "bytes": pickle.dumps(b"a", 2),
    "dict with content in the call": b"\x80\x02ccollections\nOrderedDict\n]\x85R.",
    "call of a text": b"\x80\x02X\x05\x00\x00\x00print)R.",
    "old instance": b"(ios\nsystem\n.",
    "old object": b"(cos\nsystem\no.",
    "state of a list": b"\x80\x02]}b.",
    "name on the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent text": b"Pname\n.",
    "tuple as key": b"\x80\x02}K\x01\x85K\x02s.",
    "append to a tuple": b"\x80\x02)K\x01a.",
    "memo never filled": b"\x80\x02h\x05.",
    "far memo": b"\x80\x02Nr\xff\xff\xff\xff0.",
    "no mark": b"\x80\x02t.",
    "nothing": b"\x80\x02.",
    "no end": b"\x80\x02N",
    "long text": b"\x80\x02X\xff\xff\xff\x7fa.",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_everything_else_is_left_alone(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    with pytest.raises(NotPlainError):
        read_pickle(STRANGE[kind])
    assert capsys.readouterr().out == ""


def test_protocol_2_as_python_reads_it() -> None:
    """Random plain values; Python's own pickle is the reference."""
    chance = random.Random(0)

    def value(depth: int) -> object:
        kind = chance.randrange(8 if depth else 5)
        if kind < 5:
            return [chance.randrange(-(2**33), 2**33), chance.random(), str(chance.random()), None, True][kind]
        parts = [value(depth - 1) for _ in range(chance.randrange(5))]
        return [tuple(parts), parts, {str(i): part for i, part in enumerate(parts)}][kind - 5]

    for _ in range(300):
        content = pickle.dumps(value(3), protocol=2)
        assert read_pickle(content)[0] == pickle.loads(content)


def described(path: Path) -> bytes:
    torch.save(OrderedDict(a=torch.randn(3, 4), b=torch.arange(5)), path)
    with zipfile.ZipFile(path) as archive:
        return archive.read("a/data.pkl")


def test_tensors_are_described(tmp_path: Path) -> None:
    storages: dict = {}
    value, _ = read_pickle(described(tmp_path / "a.pt"), 0, storages)
    assert value["a"] == TensorRef(("0", torch.float32, 12), 0, (3, 4), (4, 1))
    assert value["b"] == TensorRef(("1", torch.int64, 5), 0, (5,), (1,))
    assert list(storages) == ["0", "1"]


def test_cut_or_altered_descriptions_raise_nothing_else(tmp_path: Path) -> None:
    content = described(tmp_path / "a.pt")
    for length in range(len(content)):
        with pytest.raises(NotPlainError):
            read_pickle(content[:length])
    chance, refused = random.Random(0), 0
    for _ in range(5000):
        data = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            read_pickle(bytes(data))
        except NotPlainError:
            refused += 1
    assert refused > 1000


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_it_is_a_subset_of_what_torch_takes(tmp_path: Path) -> None:
    """Altered files with their checksums made good: where this reader is content, torch is, with the same tensors."""
    path = tmp_path / "a.pt"
    content = described(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    chance, taken = random.Random(2), 0
    for _ in range(400):
        data = bytearray(content)
        data[chance.randrange(len(data))] = chance.randrange(256)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, entry in entries.items():
                archive.writestr(name, bytes(data) if name.endswith("data.pkl") else entry)
        path.write_bytes(stream.getvalue())
        try:
            wanted = torch.load(path, map_location="cpu", weights_only=True)
        except DAMAGED_FILE_ERRORS:
            with pytest.raises(WeightsError):
                read_state(path)
            continue
        try:
            found = read_state(path)
        except WeightsError:
            continue
        taken += 1
        assert all(
            torch.equal(found[name], wanted[name]) and found[name].stride() == wanted[name].stride() for name in found
        )
    assert taken > 20
