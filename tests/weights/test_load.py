"""Load reports against planted differences, refusal without a trace, and MONAI's silent loaders beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from load_toys import State, copied, counts, network, report_of, same
from monai.handlers import CheckpointLoader
from monai.networks.utils import copy_model_state
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.networks.factory import build_network
from medtl_monai.weights.load import fill_network, match_state
from medtl_monai.weights.read import read_state


def test_all_tensors_of_the_same_network() -> None:
    target, other = network(0), network(1)
    report = report_of(target, other.state_dict())
    assert counts(report) == {"loaded": 9}
    assert report.loaded == tuple(target.state_dict())
    assert report.parameters_loaded == report.parameters_total == 3 * 2 * 27 + 3 + 3 + 3 + 3 * 2 + 2
    assert report.parameter_share == 1.0
    fill_network(target, other.state_dict(), report)
    assert same(dict(target.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize("classes", [2, 5], ids=["fitting", "other size"])
def test_the_new_head_keeps_its_values(classes: int) -> None:
    """A declared new head is new also where the file's would fit."""
    target, other = network(0), network(1, classes)
    before = copied(target.state_dict())
    report = report_of(target, other.state_dict(), ("head",))
    assert counts(report) == {"loaded": 7, "reinitialised": 2, "dropped": 2}
    assert report.reinitialised == report.dropped == ("head.weight", "head.bias")
    assert report.parameters_loaded == report.parameters_total - (3 * 2 + 2)
    fill_network(target, other.state_dict(), report)
    for name, tensor in target.state_dict().items():
        source = before if name.startswith("head.") else other.state_dict()
        assert torch.equal(tensor, source[name])


def test_a_file_without_head() -> None:
    state = {name: tensor for name, tensor in network(1).state_dict().items() if name.startswith("body.")}
    assert counts(report_of(network(0), state, ("head",))) == {"loaded": 7, "reinitialised": 2}
    assert counts(report_of(network(0), state)) == {"loaded": 7, "missing": 2}


def test_a_longer_name_is_not_the_head() -> None:
    state = {**network(1).state_dict(), "header.weight": torch.ones(1)}
    assert report_of(network(0), state, ("head",)).unexpected == ("header.weight",)


def rename_one(state: State) -> State:
    return {name.replace("body.0.bias", "body.0.offset"): tensor for name, tensor in state.items()}


def drop_one(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "body.1.running_var"}


def add_one(state: State) -> State:
    return {**state, "extra.weight": torch.ones(4)}


def reshape_one(state: State) -> State:
    return {**state, "body.0.weight": torch.ones(3, 1, 3, 3, 3)}


def transpose_one(state: State) -> State:
    """As many values, another shape."""
    return {**state, "body.0.weight": state["body.0.weight"].transpose(0, 1).contiguous()}


def quantise_one(state: State) -> State:
    return {**state, "body.0.weight": (100 * state["body.0.weight"]).to(torch.int8)}


def double_prefix(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}  # what read_state leaves of two prefixes


def other_network(state: State) -> State:
    return dict(build_network("unet").state_dict())


def nothing(state: State) -> State:
    return {}


PLANTED: list[tuple[Callable[[State], State], dict[str, int], str]] = [
    (rename_one, {"loaded": 8, "missing": 1, "unexpected": 1}, "body.0.offset"),
    (drop_one, {"loaded": 8, "missing": 1}, "body.1.running_var"),
    (add_one, {"loaded": 9, "unexpected": 1}, "extra.weight"),
    (reshape_one, {"loaded": 8, "mismatched": 1}, "body.0.weight (3, 1, 3, 3, 3) for (3, 2, 3, 3, 3)"),
    (transpose_one, {"loaded": 8, "mismatched": 1}, "body.0.weight (2, 3, 3, 3, 3) for (3, 2, 3, 3, 3)"),
    (quantise_one, {"loaded": 8, "mismatched": 1}, "body.0.weight torch.int8 for torch.float32"),
    (double_prefix, {"missing": 9, "unexpected": 9}, "and 6 more"),
    (other_network, {"missing": 9, "unexpected": 7 * 2 * 3 + 3 * 2 + 2}, "and 47 more"),
    (nothing, {"missing": 9}, "body.0.weight, body.0.bias"),
]


@pytest.mark.parametrize(("plant", "expected", "text"), PLANTED, ids=[row[0].__name__ for row in PLANTED])
def test_planted_differences_are_told_and_nothing_is_copied(
    plant: Callable[[State], State], expected: dict[str, int], text: str
) -> None:
    target = network(0)
    before, state = copied(target.state_dict()), plant(dict(network(1).state_dict()))
    state_before = copied(state)
    report = report_of(target, state)
    assert counts(report) == expected
    with pytest.raises(WeightsError, match=r"'file\.pth' do not fill the network Sequential") as caught:
        fill_network(target, state, report)
    assert text in str(caught.value)
    assert same(copied(target.state_dict()), before)
    assert same(state, state_before)


def test_matching_leaves_network_and_state_alone() -> None:
    target, state = network(0), dict(network(1).state_dict())
    before = copied(target.state_dict()), copied(state)
    report_of(target, state, ("head",))
    assert same(copied(target.state_dict()), before[0])
    assert same(state, before[1])


def test_half_precision_files_fill_a_float32_network() -> None:
    target = network(0)
    state = {n: t.half() if t.is_floating_point() else t for n, t in network(1).state_dict().items()}
    fill_network(target, state, report_of(target, state))
    for name, tensor in target.state_dict().items():
        assert tensor.dtype == network(1).state_dict()[name].dtype
        assert torch.equal(tensor, state[name].to(tensor.dtype))


def test_filling_keeps_parameters_and_their_optimiser() -> None:
    """In place: an optimiser made before goes on with the same tensors."""
    target, other = network(0), network(1)
    parameters = list(target.parameters())
    fill_network(target, other.state_dict(), report_of(target, other.state_dict()))
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in parameters)


def test_monai_loads_nothing_in_silence_where_this_loads_all(tmp_path: Path) -> None:
    """A checkpoint saved from a DataParallel network; no GPU at loading time, so the target is not wrapped."""
    path = tmp_path / "checkpoint.pt"
    trained = network(1)
    torch.save(nn.DataParallel(trained).state_dict(), path)
    wanted = copied(trained.state_dict())

    monai_target = network(0)
    before = copied(monai_target.state_dict())
    engine = Engine(lambda engine, batch: None)
    CheckpointLoader(load_path=str(path), load_dict={"network": monai_target}, strict=False, strict_shape=False)(engine)
    assert same(copied(monai_target.state_dict()), before), "0 of 9, and no error"
    _, changed, unchanged = copy_model_state(monai_target, torch.load(path, weights_only=True))
    assert (len(changed), len(unchanged)) == (0, 9)
    assert same(copied(monai_target.state_dict()), before)

    target = network(0)
    state = read_state(path)
    report = match_state(target, state, source=path.name, sha256=sha256_of(path))
    fill_network(target, state, report)
    assert counts(report) == {"loaded": 9}
    assert same(copied(target.state_dict()), wanted)
