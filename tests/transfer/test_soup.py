"""Soups against their closed forms and the paper's recipe."""

from __future__ import annotations

import copy

import pytest
import torch
from peft_toy import Toy, conv_network, mixed_body, walk
from torch import nn

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.transfer import lora
from medtl_monai.transfer.norm_statistics import reestimate_norm
from medtl_monai.transfer.soup import greedy_soup, uniform_soup


def states_of(count: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    states = {}
    for number in range(count):
        network = conv_network()
        for _ in range(number + 1):
            walk(network, generator)
        states[f"run {number}"] = network.state_dict()
    return states


def test_uniform_soup_is_the_mean() -> None:
    states = states_of()
    soup = uniform_soup(states)
    assert list(soup) == list(states["run 0"])
    for name, tensor in soup.items():
        stack = torch.stack([state[name].double() for state in states.values()])
        wanted = stack.mean(0) if tensor.is_floating_point() else states["run 0"][name].double()
        assert torch.equal(tensor, wanted.to(tensor.dtype))
        assert tensor.dtype == states["run 0"][name].dtype
    same = uniform_soup({str(number): states["run 1"] for number in range(7)})
    assert all(torch.equal(tensor, states["run 1"][name]) for name, tensor in same.items())


def vectors(values: dict[str, tuple[float, float]]) -> dict[str, dict[str, torch.Tensor]]:
    return {name: {"w": torch.tensor(pair)} for name, pair in values.items()}


def closeness(state: dict[str, torch.Tensor]) -> float:
    return -float(state["w"].norm())


def test_greedy_soup_takes_what_helps_in_order_of_the_scores() -> None:
    """The score is minus the distance from (0, 0); by hand, best first: b 1, e 1.001, a 1.1, c 2.236, d 3.

    b and e: (.525, .5), better; with a: (-.017, .333), better; with c instead: (.237, .75), worse; with d: worse.
    """
    states = vectors({"a": (-1.1, 0.0), "b": (1.0, 0.0), "c": (1.0, 2.0), "d": (-3.0, 0.0), "e": (0.05, 1.0)})
    soup = greedy_soup(states, closeness)
    assert soup.members == ("b", "e", "a")
    assert soup.score == pytest.approx(-(((0.05 / 3) ** 2 + 1 / 9) ** 0.5))
    assert torch.allclose(soup.state["w"], torch.tensor([-0.05 / 3, 1.0 / 3]))
    assert soup.scores["c"] == pytest.approx(-(5**0.5))


def test_a_greedy_soup_is_never_worse_than_its_best_model() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        states = {str(number): {"w": torch.randn(4, generator=generator)} for number in range(5)}
        soup = greedy_soup(states, closeness)
        assert soup.score >= max(closeness(state) for state in states.values())
        assert soup.score == closeness(soup.state)
    ties = greedy_soup({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}, closeness)
    assert ties.members == ("a", "b"), "as good counts, as in the paper's recipe"


@pytest.mark.parametrize("soup", [uniform_soup, lambda states: greedy_soup(states, lambda state: 0.0)])
def test_what_cannot_be_averaged(soup: object) -> None:
    assert callable(soup)
    with pytest.raises(ConfigError, match="a soup needs models"):
        soup({})
    states = states_of()
    other = copy.deepcopy(states)
    other["run 1"]["3.weight"] = torch.zeros(2, 3, 1, 1, 1)
    del other["run 2"]["3.bias"]
    other["run 2"]["0.bias"] = other["run 2"]["0.bias"].double()
    with pytest.raises(WeightsError, match="not of one network") as error:
        soup(other)
    for word in (
        r"run 1: 3.weight (2, 3, 1, 1, 1) float32 instead of (1, 3, 1, 1, 1) float32",
        "run 2: 3.bias absent instead of (1,) float32",
        "run 2: 0.bias (3,) float64 instead of (3,) float32",
    ):
        assert word in str(error.value)
    broken = copy.deepcopy(states)
    broken["run 1"]["0.bias"][1] = float("nan")
    with pytest.raises(WeightsError, match=r"not finite.*run 1: 0\.bias"):
        soup(broken)
    index = {"a": {"table": torch.tensor([0, 1])}, "b": {"table": torch.tensor([1, 0])}}
    with pytest.raises(WeightsError, match=r"whole numbers cannot be averaged.*b: table"):
        soup(index)
    wrapped = Toy(mixed_body())
    lora.wrap(wrapped)
    with pytest.raises(ConfigError, match=r"adapters cannot be averaged.*got x; average `merged_state"):
        soup({"x": wrapped.state_dict()})


def test_a_score_that_is_no_number() -> None:
    with pytest.raises(ConfigError, match="score of 'run 0' is not a number; expected a finite score, got nan"):
        greedy_soup(states_of(), lambda state: float("nan"))


def test_the_statistics_of_a_soup_want_to_be_estimated_anew() -> None:
    """Two models that see the same features with opposite signs: the averaged variance is far from the soup's own."""
    states = {}
    for sign in (1.0, -1.0):
        network = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False), nn.BatchNorm3d(1))
        with torch.no_grad():
            network[0].weight.fill_(sign * 2.0 + 0.5)
        reestimate_norm(network, [torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))])
        states[str(sign)] = network.state_dict()
    network.load_state_dict(uniform_soup(states))
    averaged = float(network[1].running_var)
    reestimate_norm(network, [torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))])
    assert averaged == pytest.approx(4.25, rel=0.1)  # (2.5 ** 2 + 1.5 ** 2) / 2
    assert float(network[1].running_var) == pytest.approx(0.25, rel=0.1)  # 0.5 ** 2
