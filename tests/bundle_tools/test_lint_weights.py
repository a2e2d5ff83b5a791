"""Weights as torch writes them pass; pickles with other names in them do not, however the names are spelt."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medtl_monai.bundle.lint_findings import Profile, Report
from medtl_monai.bundle.lint_weights import check_weights


def codes(path: Path, profile: Profile = "strict") -> list[str]:
    report = Report(profile)
    check_weights(path, path.name, report)
    return [found.code for found in report.sorted()]


def texts(path: Path) -> str:
    report = Report("strict")
    check_weights(path, path.name, report)
    return " ".join(found.message for found in report.sorted())


STATE = OrderedDict(
    a=torch.zeros(640), b=torch.ones(2, dtype=torch.bfloat16), c=nn.Parameter(torch.zeros(1)), d=torch.ones(1).bool()
)


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("content", [STATE, {"model": dict(STATE), "epoch": 3, "shape": torch.Size([1])}])
def test_tensors_pass_in_both_forms_of_torch(tmp_path: Path, form: str, content: object) -> None:
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=form == "zip")
    assert codes(tmp_path / "model.pt") == []


def test_arrays_pass_by_default_alone(tmp_path: Path) -> None:
    torch.save({"a": np.float64(3), "b": np.arange(3)}, tmp_path / "model.pt")
    assert codes(tmp_path / "model.pt", "default") == []
    assert set(codes(tmp_path / "model.pt", "strict")) == {"weights.code"}


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_module_is_code(tmp_path: Path, new: bool) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "model.pt", _use_new_zipfile_serialization=new)
    assert "torch.nn.modules.linear Linear" in texts(tmp_path / "model.pt")


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_found_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps([1, {"a": Attack()}], protocol=protocol))
    assert "posix system" in texts(tmp_path / "model.pt")


@pytest.mark.parametrize("at", range(5))
def test_each_of_the_five_pickles_of_the_old_form_is_looked_at(tmp_path: Path, at: int) -> None:
    torch.save(STATE, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "model.pt").read_bytes()
    parts, rest = [], content
    for _ in range(5):
        stop = _end_of_pickle(rest)
        parts.append(rest[:stop])
        rest = rest[stop:]
    magic = pickle.loads(parts[0])
    parts[at] = pickle.dumps((magic, Attack()), protocol=0)
    (tmp_path / "model.pt").write_bytes(b"".join(parts) + rest)
    assert "posix system" in texts(tmp_path / "model.pt") or "weights.unreadable" in codes(tmp_path / "model.pt")


def _end_of_pickle(content: bytes) -> int:
    import io
    import pickletools

    stream = io.BytesIO(content)
    for _ in pickletools.genops(stream):
        pass
    return stream.tell()


HAND_MADE = {
    "plain": b"cposix\nsystem\n(S'true'\ntR.",
    "instance": b"(S'true'\niposix\nsystem\n.",
    "two_texts": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    # texts come from the memo, in which another text was put under the same number
    "overwritten_memo": b"\x80\x04\x8c\x0bcollectionsq\x00\x8c\x05posixq\x00\x8c\x06system\x93.",
    "from_memo": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\x00h\x01\x93.",
    # allowed texts last in the file, others on the stack
    "popped": b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.",
    "duplicated": b"\x80\x04\x8c\x05posix\x8c\x06system2\x93.",
    "extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_names_hidden_in_other_ways_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.pt").write_bytes(HAND_MADE[name])
    assert set(codes(tmp_path / "model.pt", "default")) == {"weights.code"}


@pytest.mark.parametrize("name", ["plain", "two_texts", "from_memo"])
def test_the_hand_made_ones_are_real(name: str) -> None:
    found: list[str] = []

    class Watch(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            found.append(f"{module} {name}")
            return lambda *_: None

    import io

    Watch(io.BytesIO(HAND_MADE[name])).load()
    assert found == ["posix system"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "weights.pointer"),
        (b"", "weights.pointer"),
        (b"<html>not found</html>", "weights.unreadable"),
        (b"PK\x03\x04 damaged", "weights.unreadable"),
        (pickle.dumps({"a": 1})[:-3], "weights.unreadable"),
        (pickle.dumps({"a": 1}) + pickle.dumps({"b": 2}), "weights.unreadable"),
    ],
)
def test_what_cannot_be_judged_is_said(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert codes(tmp_path / "model.pt") == [code]


def test_two_members_of_one_name_are_not_judged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", pickle.dumps(Attack(), protocol=2))
    assert codes(tmp_path / "model.pt") == ["weights.unreadable"]


def test_a_program_is_a_warning_and_its_own_types_are_none(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv1d(1, 1, 1), torch.zeros(1, 1, 4)), str(tmp_path / "model.ts"))
    assert codes(tmp_path / "model.ts", "default") == ["weights.script"]


def test_arrays_of_objects_are_code(tmp_path: Path) -> None:
    np.save(tmp_path / "fine.npy", np.zeros(3))
    np.save(tmp_path / "bad.npy", np.array([Attack()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "bad.npz", a=np.array([{}], dtype=object))
    assert [codes(tmp_path / name) for name in ("fine.npy", "bad.npy", "bad.npz")] == [
        [],
        ["weights.code"],
        ["weights.code"],
    ]
