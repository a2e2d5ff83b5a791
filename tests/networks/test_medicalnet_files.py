"""Files as MedicalNet publishes them load whole; spoilt ones are refused, with the reason, and nothing is copied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.networks.medicalnet import MedicalNetEncoder
from medtl_monai.weights.load import LoadReport, fill_network, match_state
from medtl_monai.weights.read import read_state

State = dict[str, torch.Tensor]


def state_of(depth: int) -> State:
    torch.manual_seed(depth)
    state = dict(MedicalNetEncoder(depth).state_dict())
    return {name: tensor + 0.5 if name.endswith("running_mean") else tensor for name, tensor in state.items()}


def published(state: State, prefix: str = "module.") -> dict[str, object]:
    return {"state_dict": {f"{prefix}{name}": tensor for name, tensor in state.items()}}


def save(content: object, path: Path) -> Path:
    """In the format of the PyTorch of 2019: a pickle, no zip archive."""
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes()[:2] != b"PK"
    return path


def load(path: Path, network: torch.nn.Module) -> LoadReport:
    state = read_state(path)
    report = match_state(network, state, source=path.name, sha256=sha256_of(path))
    fill_network(network, state, report)
    return report


@pytest.fixture(scope="module")
def state10() -> State:
    return state_of(10)


@pytest.fixture
def target10() -> MedicalNetEncoder:
    torch.manual_seed(99)
    return MedicalNetEncoder(10)


@pytest.mark.parametrize(("depth", "entries", "parameters"), [(10, 72, 14_355_520), (18, 102, 32_986_176)])
@pytest.mark.parametrize("output_stride", [8, 32])
def test_a_published_file_loads_whole(
    depth: int, entries: int, parameters: int, output_stride: int, tmp_path: Path
) -> None:
    state = state_of(depth)
    path = save(published(state), tmp_path / f"resnet_{depth}_23dataset.pth")
    torch.manual_seed(1)
    network = MedicalNetEncoder(depth, output_stride=output_stride)
    report = load(path, network)
    path.unlink()
    assert (len(report.loaded), report.parameters_loaded, report.parameter_share) == (entries, parameters, 1.0)
    elsewhere = (report.missing, report.unexpected, report.mismatched, report.reinitialised, report.dropped)
    assert elsewhere == ((), (), (), (), ())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_a_published_file_of_depth_50_loads_whole(tmp_path: Path) -> None:
    test_a_published_file_loads_whole(50, 318, 46_155_072, 8, tmp_path)


def renamed(state: State) -> State:
    return {name.replace("layer3.0.conv2", "layer3.0.convolution2"): tensor for name, tensor in state.items()}


def without_layer4(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("layer4.")}


def without_stem(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(("conv1.", "bn1."))}


def without_shortcuts(state: State) -> State:
    """What a type-A network of this depth would have saved."""
    return {name: tensor for name, tensor in state.items() if ".downsample." not in name}


def with_nan(state: State) -> State:
    spoilt = state["layer2.0.bn1.running_var"].clone()
    spoilt[17] = float("nan")
    return {**state, "layer2.0.bn1.running_var": spoilt}


def three_channels(state: State) -> State:
    return {**state, "conv1.weight": state["conv1.weight"].repeat(1, 3, 1, 1, 1)}


SPOILT: list[tuple[Callable[[State], State], str, tuple[str, ...]]] = [
    (renamed, "module.", ("1 missing (layer3.0.conv2.weight)", "1 unexpected (layer3.0.convolution2.weight)")),
    (without_layer4, "module.", ("18 missing", "layer4.0.conv1.weight", "0 unexpected")),
    (without_stem, "module.", ("6 missing", "conv1.weight", "bn1.weight")),
    (without_shortcuts, "module.", ("18 missing", "layer2.0.downsample.0.weight")),
    (with_nan, "module.", ("NaN", "layer2.0.bn1.running_var")),
    (three_channels, "module.", ("1 mismatched", "conv1.weight")),
    (dict, "module.module.", ("module.",)),
]


@pytest.mark.parametrize(("spoil", "prefix", "texts"), SPOILT, ids=[f"{row[0].__name__} {row[1]}" for row in SPOILT])
def test_spoilt_files_are_refused_with_the_reason(
    spoil: Callable[[State], State],
    prefix: str,
    texts: tuple[str, ...],
    state10: State,
    target10: MedicalNetEncoder,
    tmp_path: Path,
) -> None:
    path = save(published(spoil(state10), prefix), tmp_path / "resnet_10_23dataset.pth")
    before = {name: tensor.clone() for name, tensor in target10.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load(path, target10)
    path.unlink()
    for text in texts:
        assert text in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target10.state_dict().items())


def test_a_type_b_file_does_not_fill_a_type_a_network(tmp_path: Path) -> None:
    """Depth 18 with shortcut B: 120 tensors, of which the network of the published file (A) has 102."""
    state = state_of(18)
    for layer, (arriving, channels) in {2: (64, 128), 3: (128, 256), 4: (256, 512)}.items():
        name = f"layer{layer}.0.downsample"
        state[f"{name}.0.weight"] = torch.zeros(channels, arriving, 1, 1, 1)
        state.update({f"{name}.1.{part}": torch.zeros(channels) for part in ("weight", "bias", "running_mean")})
        state[f"{name}.1.running_var"] = torch.ones(channels)
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(5)
    path = save(published(state), tmp_path / "wrong_shortcut.pth")
    with pytest.raises(WeightsError, match=r"102 loaded, 0 missing.*18 unexpected.*layer2\.0\.downsample\.0\.weight"):
        load(path, MedicalNetEncoder(18))
    path.unlink()


def test_a_file_of_another_depth_is_refused(state10: State, tmp_path: Path) -> None:
    """Depth 10 lacks the second block of every layer of depth 18, and has shortcuts that 18 has not."""
    path = save(published(state10), tmp_path / "resnet_10_23dataset.pth")
    with pytest.raises(WeightsError, match=r"48 missing.*layer1\.1\.conv1\.weight.*18 unexpected"):
        load(path, MedicalNetEncoder(18))
    path.unlink()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9999])
def test_truncated_files_are_refused(share: float, state10: State, tmp_path: Path) -> None:
    path = save(published(state10), tmp_path / "resnet_10_23dataset.pth")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(WeightsError, match="cannot be read") as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    path.unlink()


class Intruder:
    """Unpickled by careless code, it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    folder = tmp_path / "made by the file"
    content = {"state_dict": {"module.bn1.weight": torch.ones(64)}, "optimizer": Intruder(str(folder))}
    path = save(content, tmp_path / "resnet_10_23dataset.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state(path)
    assert not folder.exists()
    torch.load(path, weights_only=False)
    assert folder.exists(), "the file does hold code"
