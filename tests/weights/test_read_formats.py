"""Every form of PyTorch and safetensors files gives what the official readers give, in memory of its own."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import squeezenet1_0

from medtl_monai.weights.read import read_state

State = dict[str, torch.Tensor]
ZIP, OLD = {"_use_new_zipfile_serialization": True}, {"_use_new_zipfile_serialization": False}
DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
]
NEW_DTYPES = [torch.float8_e4m3fn, torch.uint16]  # torch itself cannot read them from a file of the older kind


def saved(path: Path, content: object, **settings: bool) -> Path:
    torch.save(content, path, **settings)
    return path


def require_same(found: State, wanted: State) -> None:
    """Names and order, values bit by bit, types and strides."""
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        other = found[name]
        assert torch.equal(as_bytes(other), as_bytes(tensor))


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().contiguous().flatten().view(torch.uint8)


def contents() -> dict[str, State]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 4, generator=generator)
    odd = torch.arange(3, dtype=torch.uint8)
    return {
        "types": {str(dtype): torch.tensor([0, 1, 1, 0, 1]).to(dtype) for dtype in DTYPES},
        "shapes": {
            "scalar": torch.tensor(3.5),
            "empty": torch.empty(0, 3),
            "transposed": base.t(),
            "strided": base[::2, 1:],
            "expanded": torch.ones(1, 3).expand(4, 3),
            "channels last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        },
        "one storage": {"whole": base, "part": base[2:4], "again": base},
        "odd positions": {"a": odd, "b": base, "c": odd, "d": base.double()},
        "parameters": OrderedDict(nn.Conv3d(2, 3, 3).named_parameters()),
        "conjugated": {"a": torch.tensor([1 + 2j, 3 - 1j]).conj(), "b": torch.ones(2)},
        "batch norm": nn.BatchNorm3d(3).state_dict(),
        "many": {f"layer.{index}.weight": torch.full((3,), float(index)) for index in range(700)},
        "squeezenet": squeezenet1_0().state_dict(),
    }


@pytest.mark.parametrize("settings", [ZIP, OLD], ids=["zip", "old"])
@pytest.mark.parametrize("kind", contents())
def test_as_torch_reads_it(tmp_path: Path, kind: str, settings: dict[str, bool]) -> None:
    path = saved(tmp_path / "a.pth", contents()[kind], **settings)
    require_same(read_state(path), torch.load(path, map_location="cpu", weights_only=True))


@pytest.mark.parametrize("settings", [ZIP, OLD], ids=["zip", "old"])
def test_a_checkpoint_with_optimiser(tmp_path: Path, settings: dict[str, bool]) -> None:
    network = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99))
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    content = {
        "epoch": 70_000,
        "best": -1.5,
        "name": "π",
        "done": True,
        "seed": 2**40,
        "state_dict": network.state_dict(),
        "optimizer": optimiser.state_dict(),
    }
    path = saved(tmp_path / "a.pt", content, **settings)
    require_same(read_state(path), network.state_dict())


def test_types_of_the_zip_format_only(tmp_path: Path) -> None:
    state = {str(dtype): torch.ones(3).to(dtype) for dtype in NEW_DTYPES}
    require_same(read_state(saved(tmp_path / "a.pth", state)), state)


def test_shared_storage_stays_shared(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    for settings in (ZIP, OLD):
        state = read_state(saved(tmp_path / "a.pt", {"a": base, "b": base[2:]}, **settings))
        state["a"][3] = 9.0
        assert state["b"][1] == 9.0


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_pickle_protocols_end_as_torch_ends_them(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(3)}, path, pickle_protocol=protocol)
    try:
        wanted = torch.load(path, weights_only=True)
    except pickle.UnpicklingError:
        with pytest.raises(Exception, match="weights file cannot be read"):
            read_state(path)
    else:
        require_same(read_state(path), wanted)


def repacked(path: Path, target: Path, compression: int) -> Path:
    """The same entries through the zipfile module: compressed or at positions of its own choosing."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    return target


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_repacked_zip_files(tmp_path: Path, compression: int) -> None:
    state = nn.Conv3d(2, 5, 3).state_dict()
    path = repacked(saved(tmp_path / "a.pt", state), tmp_path / "b.pt", compression)
    require_same(read_state(path), torch.load(path, weights_only=True))
    assert read_state(path)["bias"].data_ptr() % 4 == 0, "no unaligned tensors"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("/data/0"))
    content[entry.header_offset + 120] ^= 1
    path.write_bytes(content)
    with pytest.raises(Exception, match="weights file cannot be read"):
        read_state(path)


def test_a_big_endian_file(tmp_path: Path) -> None:
    """Same description, marked and stored the other way round."""
    path, other = saved(tmp_path / "a.pt", {"a": torch.arange(4.0)}), tmp_path / "b.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/byteorder"):
                content = b"big"
            if "/data/" in name:
                content = torch.arange(4.0).numpy().astype(">f4").tobytes()
            copy.writestr(name, content)
    assert torch.equal(read_state(other)["a"], torch.arange(4.0))


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_no_copy_is_made_of_what_was_read(tmp_path: Path, kind: str) -> None:
    """Tensors lie as far apart in memory as they lie in the file."""
    state = {name: torch.full((1000,), value) for name, value in (("a", 1.5), ("b", 2.5), ("c", 3.5))}
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, **(ZIP if kind == "zip" else OLD))
    found, content = read_state(path), path.read_bytes()
    places = {name: content.index(tensor.numpy().tobytes()) for name, tensor in state.items()}
    for name, tensor in found.items():
        assert tensor.data_ptr() - found["a"].data_ptr() == places[name] - places["a"]
        assert tensor.untyped_storage().nbytes() == 4000, "saving one tensor does not save the whole file"


def shorten_file(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [shorten_file, overwrite, Path.unlink], ids=["shortened", "overwritten", "gone"])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_tensors_do_not_depend_on_the_file(tmp_path: Path, kind: str, damage: Callable[[Path], None]) -> None:
    """A mapped file that is shortened kills the program (SIGBUS); one that is overwritten changes the tensors."""
    state = {"a": torch.arange(100_000.0), "b": torch.ones(7)}
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        path.write_bytes(safetensors.torch.save(state))
    else:
        torch.save(state, path, **(ZIP if kind == "zip" else OLD))
    found = read_state(path)
    damage(path)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_safetensors_as_the_official_reader(tmp_path: Path) -> None:
    state = {
        **{str(dtype): torch.ones(3).to(dtype) for dtype in DTYPES + NEW_DTYPES if not dtype.is_complex},
        "none": torch.ones(0, 2),
    }
    state["cube"] = torch.randn(2, 3, 4)
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(state, path, metadata={"made by": "a test"})
    wanted = safetensors.torch.load_file(path)
    require_same(dict(sorted(read_state(path).items())), dict(sorted(wanted.items())))


def test_tensors_can_be_saved_and_changed(tmp_path: Path) -> None:
    state = read_state(saved(tmp_path / "a.pt", {"a": torch.zeros(5), "b": torch.zeros(5)}))
    state["a"] += 1
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    again = torch.load(stream, weights_only=True)
    assert again["a"].sum() == 5
    assert again["b"].sum() == 0


@pytest.mark.parametrize(
    "file", ["highres3dnet/highres3dnet_li_parameters-7d297872.pth", "squeezenet1_0/squeezenet1_0_imagenet.pth"]
)
def test_published_files_as_torch_reads_them(real_weights: Path, file: str) -> None:
    """One of the older kind, one zip."""
    wanted = torch.load(real_weights / file, map_location="cpu", weights_only=True)
    require_same(read_state(real_weights / file), dict(wanted))
