"""Weights files looked into without loading: which names their pickles would import."""

from __future__ import annotations

import itertools
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from medtl_monai.bundle.lint_findings import Report, shown

_LARGEST_PICKLE = 64 * 2**20  # bytes; that of a network of a thousand tensors has 100 kB
_MOST_MEMBERS = 100_000
_MOST_OPCODES = 5_000_000
_OLD_FORM = 0x1950A86A20F9469CFC6C  # the number that torch's old form starts with
_OLD_FORM_PICKLES = 5  # that number, version, system, tensors, order of the numbers
_ARRAY_HEADER = 4096  # bytes
Operation = tuple[pickletools.OpcodeInfo, Any, "int | None"]
_STORAGES = (
    *("Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "Float", "Double", "BFloat16", "ComplexFloat"),
    *("ComplexDouble", "Untyped", "QInt8", "QUInt8", "QInt32"),
)
_DTYPES = "bool uint8 int8 int16 int32 int64 float16 float32 float64 bfloat16 complex64 complex128"
TENSORS = frozenset(
    (
        *("collections OrderedDict", "torch Size", "torch device", "torch.nn.parameter Parameter"),
        *("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"),
        *("torch._utils _rebuild_parameter_with_state", "torch.storage UntypedStorage", "torch.storage TypedStorage"),
        *(f"torch {name}Storage" for name in _STORAGES),
        *(f"torch {name}" for name in _DTYPES.split()),
    )
)
ARRAYS = frozenset(
    (
        *("numpy dtype", "numpy ndarray", "_codecs encode"),
        *(f"numpy.{core}.multiarray {name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    )
)
_STRINGS = {
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_GETS, _PUTS = {"GET", "BINGET", "LONG_BINGET"}, {"PUT", "BINPUT", "LONG_BINPUT"}
_POINTER = b"version https://git-lfs"
_READ_ERRORS = (ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile, zlib.error, RuntimeError)


class _UnreadableError(Exception):
    """The file cannot be judged."""


def check_weights(path: Path, name: str, report: Report) -> None:
    """Check one file of weights: a zip archive of torch, its old pickle form, numpy arrays, or a stand-in.

    Names that are no part of tensors are findings, and so is a file that cannot be judged.
    """
    allowed = TENSORS if report.profile == "strict" else TENSORS | ARRAYS
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
            stream.seek(0)
            if start.startswith(_POINTER) or not start:
                message = "a stand-in: the weights themselves are not here"
                report.add("weights.pointer", name, 1, message, "fetch the file (git lfs pull, large_files.yml)")
                return
            for found in sorted(set(_names(stream, start, name, report)) - allowed):
                message = f"{shown(found)} would run when the file is unpickled"
                report.add("weights.code", name, 1, message, "save the state dict alone, tensors only")
    except (_UnreadableError, *_READ_ERRORS) as error:
        reason = str(error) or type(error).__name__
        report.add("weights.unreadable", name, 1, f"the file cannot be checked: {reason}", "save the state dict again")


def _names(stream: IO[bytes], start: bytes, name: str, report: Report) -> Iterator[str]:
    if start.startswith(b"PK"):
        yield from _archive(stream, name, report)
    elif start.startswith(b"\x93NUMPY"):
        yield from _array(stream)
    else:
        yield from _pickles(stream)


def _archive(stream: IO[bytes], name: str, report: Report) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(members) > _MOST_MEMBERS or len(set(names)) != len(names):
            raise _UnreadableError("too many members, or two of one name")
        if any("/code/" in f"/{one}" and one.endswith(".py") for one in names):
            report.add("weights.script", name, 1, "a compiled program (TorchScript)", "ship model.pt with tensors only")
        for member in members:
            if member.filename.lower().endswith((".pkl", ".pickle")):
                if member.file_size > _LARGEST_PICKLE:
                    raise _UnreadableError(f"{member.filename} has {member.file_size} bytes")
                with archive.open(member) as content:
                    operations = pickletools.genops(content)
                    yield from (one for one in _names_of_pickle(operations) if not _is_script(one))
            elif member.filename.lower().endswith(".npy"):
                with archive.open(member) as content:
                    yield from _array(content)


def _is_script(name: str) -> bool:
    """Types of a compiled program, which its reader makes itself and never imports."""
    return name.startswith(("__torch__", "torch.jit._pickle "))


def _array(stream: IO[bytes]) -> Iterator[str]:
    header = stream.read(_ARRAY_HEADER)
    if b"'|O" in header or b"'O" in header:
        yield "numpy array of objects"


def _pickles(stream: IO[bytes]) -> Iterator[str]:
    """Names in a file of pickles: one, or the five of torch's old form, which raw numbers follow."""
    first = list(itertools.islice(pickletools.genops(stream), _MOST_OPCODES))
    yield from _names_of_pickle(iter(first))
    if any(argument == _OLD_FORM for _, argument, _ in first):
        for _ in range(_OLD_FORM_PICKLES - 1):
            yield from _names_of_pickle(pickletools.genops(stream))
    elif stream.read(1):
        raise _UnreadableError("more follows behind its end")


def _names_of_pickle(operations: Iterator[Operation]) -> Iterator[str]:
    """Names that one pickle imports, in the form ``module name``; a computed one is given as such."""
    memo: dict[int, str | None] = {}
    texts: list[str | None] = []  # what the last operations pushed, as long as each pushed one text
    for count, (opcode, argument, _) in enumerate(operations):
        if count >= _MOST_OPCODES:
            raise _UnreadableError("too many operations")
        code = opcode.name
        if code in ("GLOBAL", "INST", "STACK_GLOBAL") or code.startswith("EXT"):
            yield _name(code, argument, texts)
        if code == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else None
        elif code in _PUTS:
            memo[int(argument)] = texts[-1] if texts else None
        elif code in _STRINGS:
            texts.append(str(argument))
        elif code in _GETS:
            texts.append(memo.get(int(argument)))
        elif code != "FRAME":
            texts.clear()
        del texts[:-2]


def _name(code: str, argument: object, texts: list[str | None]) -> str:
    if code in ("GLOBAL", "INST"):
        return str(argument)
    if code == "STACK_GLOBAL" and len(texts) == 2 and None not in texts:
        return f"{texts[0]} {texts[1]}"
    return "a computed name"
