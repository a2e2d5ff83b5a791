"""Weights files: whole ones are read, every other one is refused with its name, size, hash and reason."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.weights.read import DAMAGED_FILE_ERRORS, read_state

State = dict[str, torch.Tensor]


def small_state() -> State:
    generator = torch.Generator().manual_seed(1)
    return {
        "conv.weight": torch.randn(3, 2, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(3, generator=generator),
        "steps": torch.tensor(7),
    }


def torch_bytes(content: object, **settings: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **settings)
    return stream.getvalue()


def zip_bytes() -> bytes:
    return torch_bytes(small_state())


def legacy_bytes() -> bytes:
    return torch_bytes(small_state(), _use_new_zipfile_serialization=False)


def written(path: Path, content: object) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else torch_bytes(content))
    return path


def same(one: State, other: State) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_sha256_of_a_published_test_vector(tmp_path: Path) -> None:
    path = written(tmp_path / "abc", b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    large = written(tmp_path / "large", bytes(3_000_001))
    assert sha256_of(large) == hashlib.sha256(bytes(3_000_001)).hexdigest()


@pytest.mark.parametrize("content", [zip_bytes(), legacy_bytes()], ids=["zip", "legacy"])
def test_torch_files(tmp_path: Path, content: bytes) -> None:
    assert same(read_state(written(tmp_path / "a.pth", content)), small_state())


@pytest.mark.parametrize("name", ["a.safetensors", "a.SafeTensors"])
def test_safetensors_files(tmp_path: Path, name: str) -> None:
    state = read_state(written(tmp_path / name, safetensors.torch.save(small_state())))
    assert same(dict(sorted(state.items())), dict(sorted(small_state().items())))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_one_wrapper_is_taken_off(tmp_path: Path, key: str) -> None:
    path = written(tmp_path / "a.pt", {"epoch": 3, key: small_state(), "optimizer": {"lr": 0.1}})
    assert same(read_state(path), small_state())


def test_two_wrappers_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt", {"state_dict": {"state_dict": small_state()}})
    with pytest.raises(WeightsError, match="not a flat state dict"):
        read_state(path)


def test_a_tensor_called_model_is_no_wrapper(tmp_path: Path) -> None:
    assert list(read_state(written(tmp_path / "a.pt", {"model": torch.ones(2)}))) == ["model"]


def test_one_module_prefix_is_taken_off(tmp_path: Path) -> None:
    wrapped = nn.DataParallel(nn.Conv3d(1, 2, 3))
    state = read_state(written(tmp_path / "a.pt", wrapped.state_dict()))
    assert same(state, dict(wrapped.module.state_dict()))
    twice = written(tmp_path / "b.pt", nn.DataParallel(wrapped).state_dict())
    with pytest.raises(
        WeightsError, match=r"two `module\.` in front.*expected at most one `module\.`, got module\.module\.w"
    ):
        read_state(twice)


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert same(read_state(written(tmp_path / "a.pt", state)), state)


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    ("content", "entry"),
    [
        ({**small_state(), "epoch": 3}, "epoch"),
        ({**small_state(), "names": ["a"]}, "names"),
        ({**small_state(), "sparse": torch.eye(3).to_sparse()}, "sparse"),
        ({**small_state(), "no storage": torch.empty(2, device="meta")}, "no storage"),
        ({**small_state(), 5: torch.ones(2)}, "5"),
    ],
    ids=["number", "list", "sparse", "meta", "name"],
)
def test_other_entries_are_refused_by_name(tmp_path: Path, content: dict, entry: str) -> None:
    with pytest.raises(WeightsError, match=rf"not a flat state dict; .*got 1 other entries \({entry}\)"):
        read_state(written(tmp_path / "a.pt", content))


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [torch.ones(1)], torch.ones(1), None, 3])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    with pytest.raises(WeightsError, match=r"not a (flat )?state dict"):
        read_state(written(tmp_path / "a.pt", content))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64])
def test_values_that_are_not_finite(tmp_path: Path, bad: float, dtype: torch.dtype) -> None:
    state = small_state()
    state["conv.bias"] = torch.tensor([0.0, bad, 1.0]).to(dtype)
    with pytest.raises(WeightsError, match=r"NaN or infinite values; .*got 1 tensors \(conv\.bias\)"):
        read_state(written(tmp_path / "a.pt", state))


def damaged_files() -> dict[str, tuple[str, bytes]]:
    html = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
    tensors = safetensors.torch.save(small_state())
    return {
        "empty": ("a.pth", b""),
        "html": ("a.pth", html),
        "half zip": ("a.pth", zip_bytes()[: len(zip_bytes()) // 2]),
        "half legacy": ("a.pth", legacy_bytes()[: len(legacy_bytes()) // 2]),
        "last byte missing": ("a.pth", zip_bytes()[:-1]),
        "zip of something else": ("a.pth", b"PK\x05\x06" + bytes(18)),
        "safetensors by another name": ("a.pth", tensors),
        "empty safetensors": ("a.safetensors", b""),
        "html safetensors": ("a.safetensors", html),
        "half safetensors": ("a.safetensors", tensors[: len(tensors) // 2]),
        "torch file by another name": ("a.safetensors", zip_bytes()),
    }


@pytest.mark.parametrize("kind", damaged_files())
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    name, content = damaged_files()[kind]
    path = written(tmp_path / name, content)
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    text = str(caught.value)
    assert f"[file {path}]" in text
    assert f"{len(content)} bytes" in text
    assert hashlib.sha256(content).hexdigest()[:12] in text
    assert "fetch the file again" in text
    assert "weights_only=False" not in text, "torch's own text suggests to switch the safety off"


def test_absent_file(tmp_path: Path) -> None:
    for path in (tmp_path / "a.pth", tmp_path):
        with pytest.raises(WeightsError, match="weights file not found; check the path"):
            read_state(path)


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "beside tensors"])
def test_code_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    payload = Payload(marker)
    content = {
        "zip": lambda: torch_bytes(payload),
        "legacy": lambda: torch_bytes(payload, _use_new_zipfile_serialization=False),
        "bare pickle": lambda: pickle.dumps(payload),
        "beside tensors": lambda: torch_bytes({**small_state(), "conv.bias": payload}),
    }[kind]()
    path = written(tmp_path / "a.pth", content)
    with pytest.raises(WeightsError, match="a file that holds code is never loaded"):
        read_state(path)
    assert not marker.exists()
    if kind == "bare pickle":
        pickle.loads(content)
    else:
        torch.load(path, weights_only=False)
    assert marker.exists(), "the payload works where it is let in"


def altered(content: bytes, chance: random.Random) -> bytes:
    """One to five bytes changed, and now and then the end cut off."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.randrange(1, len(data))]) if chance.random() < 0.3 else bytes(data)


def test_altered_zip_files_are_refused_or_read_unharmed(tmp_path: Path) -> None:
    """torch.load alone does not look at the checksums, and hands out altered weights."""
    chance, state, outcomes, let_through = random.Random(0), small_state(), [], 0
    for _ in range(300):
        path = written(tmp_path / "a.pth", altered(zip_bytes(), chance))
        try:
            outcomes.append(same(read_state(path), state))
        except WeightsError:
            with suppress(*DAMAGED_FILE_ERRORS):
                torch.load(path, weights_only=True)
                let_through += 1
    assert all(outcomes), "bytes between the entries may change, tensors may not"
    assert len(outcomes) < 150
    assert let_through > 0


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [legacy_bytes(), b"\x80\x02" + bytes(60)], ids=["legacy", "pickle"])
def test_altered_pickles_raise_nothing_else(tmp_path: Path, content: bytes) -> None:
    chance, refused = random.Random(1), 0
    for _ in range(500):
        path = written(tmp_path / "a.pth", altered(content, chance))
        try:
            read_state(path)
        except WeightsError:
            refused += 1
    assert refused > 250
