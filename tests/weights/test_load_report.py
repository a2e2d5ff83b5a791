"""Adapted tensors, the share of the body, and the report as people and programs read it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from load_toys import State, copied, counts, network, report_of, same
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.weights.load import fill_network, match_state


def test_adapted_tensors_are_told_apart_and_copied() -> None:
    target, other = network(0), network(1)
    state = {**other.state_dict(), "body.0.weight": other.state_dict()["body.0.weight"] * 2}
    how = {"body.0.weight": "doubled: for a test", "head.weight": "not taken"}
    report = match_state(target, state, source="file.pth", sha256="ab" * 32, new_head=("head",), adapted=how)
    assert report.adapted == ("body.0.weight: doubled: for a test",)
    assert counts(report) == {"loaded": 6, "adapted": 1, "reinitialised": 2, "dropped": 2}
    assert set(report.filled) == {name for name in state if name.startswith("body.")}
    assert report.parameters_loaded == 3 * 2 * 27 + 3 + 3 + 3, "adapted ones come from the file too"
    assert report.body_share == 1.0
    fill_network(target, state, report)
    assert torch.equal(target.state_dict()["body.0.weight"], state["body.0.weight"])


def test_an_adapted_tensor_that_does_not_fit() -> None:
    state = {**network(1).state_dict(), "body.0.weight": torch.ones(3, 1, 3, 3, 3)}
    report = match_state(network(0), state, source="f", sha256="", adapted={"body.0.weight": "summed over RGB"})
    assert counts(report) == {"loaded": 8, "mismatched": 1}


def test_a_large_new_decoder_does_not_make_a_full_load_look_poor() -> None:
    """4 parameters from the file, 3,000 in the new part: the share of the body is full, that of the whole is not."""
    target = nn.Sequential()
    target.add_module("body", nn.Conv3d(1, 2, 1))
    target.add_module("decoder", nn.Linear(29, 100))
    state = {"body.weight": torch.ones(2, 1, 1, 1, 1), "body.bias": torch.ones(2)}
    report = report_of(target, state, ("decoder",))
    assert (report.parameters_loaded, report.parameters_new_head, report.body_parameters_total) == (4, 3000, 4)
    assert report.body_share == 1.0
    assert report.parameter_share == 4 / 3004
    fill_network(target, state, report)
    assert torch.equal(target.state_dict()["body.bias"], torch.ones(2))


def test_a_parameter_that_no_name_tells_of() -> None:
    """A hook hides 162 of 171 body parameters from ``state_dict``: by names, nothing is missing."""

    def hide(module: nn.Module, state: State, prefix: str, metadata: dict) -> None:
        del state[f"{prefix}body.0.weight"]

    target, other = network(0), network(1)
    for each in (target, other):
        each.register_state_dict_post_hook(hide)
    state = dict(other.state_dict())
    before = copied(dict(target.named_parameters()))
    report = report_of(target, state, ("head",))
    assert not report.missing
    assert report.body_share == 9 / 171
    with pytest.raises(WeightsError, match=r"fill too little.*at least 100\.00%.*got 9 of 171 \(5\.26%\)"):
        fill_network(target, state, report)
    assert same(copied(dict(target.named_parameters())), before)
    fill_network(target, state, report, minimum_share=0.05)
    assert torch.equal(target.state_dict()["body.0.bias"], state["body.0.bias"])


def test_a_network_without_memory_is_not_filled() -> None:
    """Copying into a meta tensor does nothing, in silence."""
    with torch.device("meta"):
        target = network(0)
    with pytest.raises(WeightsError, match=r"9 mismatched.*device meta"):
        fill_network(target, network(1).state_dict(), report_of(target, network(1).state_dict()))


def test_parity_in_the_table() -> None:
    report = report_of(network(0), network(1).state_dict())
    assert report.parity is None
    assert "parity" not in report.table()
    checked = replace(report, parity=3.2e-6)
    assert re.search(r"parity +3\.2e-06 ", checked.table())
    assert checked.as_dict()["parity"] == 3.2e-6


def test_a_long_report_stays_short() -> None:
    state = {f"layer.{index}.weight": torch.ones(1) for index in range(1000)}
    table = report_of(network(0), state).table()
    assert len(table.splitlines()) <= 12
    assert max(map(len, table.splitlines())) <= 120
    assert "layer.0.weight, layer.1.weight, layer.2.weight and 997 more" in table


def test_report_as_data_and_as_table() -> None:
    report = report_of(network(0), network(1, 5).state_dict(), ("head",))
    data = json.loads(json.dumps(report.as_dict()))
    assert data["reinitialised"] == ["head.weight", "head.bias"]
    assert data["parameter_share"] == round(171 / 179, 6)
    assert data["body_share"] == 1.0
    rows = {line[:22].strip(): line[22:].split()[:1] for line in report.table().splitlines()[1:]}
    assert rows["loaded"] == ["7"]
    assert rows["re-initialised"] == rows["source head dropped"] == ["2"]
    assert rows["missing"] == rows["unexpected"] == rows["mismatched"] == ["0"]
    assert rows["adapted"] == ["0"]
    assert rows["parameters loaded"] == rows["outside the new head"] == ["171"]
    assert report.table().splitlines()[-2:] == [
        "  parameters loaded           171 of 179 (95.53%)",
        "  outside the new head        171 of 171 (100.00%)",
    ]
