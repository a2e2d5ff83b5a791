"""Published tensor names to MONAI's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from monai.networks.nets import HighResNet
from torchvision.models import densenet121

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.weights.adapt import RENAMERS, adapt_state, fepegar_highresnet_name, rename
from medtl_monai.weights.read import read_state


def monai_highresnet() -> HighResNet:
    return HighResNet(spatial_dims=3, in_channels=1, out_channels=160, bias=False)


@pytest.mark.parametrize(
    ("published", "monai"),
    [
        ("block.0.convolutional_block.1.weight", "blocks.0.conv.weight"),
        ("block.0.convolutional_block.2.running_var", "blocks.0.adn.N.running_var"),
        ("block.1.dilation_block.0.residual_block.0.convolutional_block.0.bias", "blocks.1.layers.0.N.bias"),
        ("block.2.dilation_block.0.residual_block.1.convolutional_block.3.weight", "blocks.4.layers.3.conv.weight"),
        ("block.3.dilation_block.2.residual_block.1.convolutional_block.0.weight", "blocks.9.layers.2.N.weight"),
        ("block.4.convolutional_block.0.weight", "blocks.10.conv.weight"),
        ("block.6.convolutional_block.1.num_batches_tracked", "blocks.11.adn.N.num_batches_tracked"),
    ],
)
def test_examples(published: str, monai: str) -> None:
    assert fepegar_highresnet_name(published) == monai


def test_every_real_tensor_has_its_place_in_monai(real_weights: Path) -> None:
    state = read_state(real_weights / "highres3dnet" / "highres3dnet_li_parameters-7d297872.pth")
    renamed = rename(state, "fepegar_highresnet")
    network = monai_highresnet()
    own = network.state_dict()
    assert len(state) == len(renamed) == len(own) == 126
    assert {n: (t.shape, t.dtype) for n, t in renamed.items()} == {n: (t.shape, t.dtype) for n, t in own.items()}
    network.load_state_dict(renamed, strict=True)
    assert all(torch.equal(a, b) for a, b in zip(renamed.values(), state.values(), strict=True)), (
        "same order, untouched"
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "blocks.0.conv.weight",
        "module.block.0.convolutional_block.1.weight",
        "block.5.convolutional_block.0.weight",
        "block.0.convolutional_block.0.weight",
        "block.7.convolutional_block.1.weight",
        "block.4.dilation_block.0.residual_block.0.convolutional_block.0.bias",
        "block.1.dilation_block.3.residual_block.0.convolutional_block.0.bias",
        "block.1.dilation_block.0.residual_block.0.convolutional_block.1.bias",
        "block.1.dilation_block.0.residual_block.0.convolutional_block.0.bias.extra",
    ],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="unknown tensor name"):
        fepegar_highresnet_name(name)


def test_all_unknown_names_are_told_at_once() -> None:
    state = {name: torch.zeros(1) for name in ("block.0.convolutional_block.1.weight", "a", "b", "c", "d")}
    with pytest.raises(WeightsError, match=r"names of fepegar_highresnet, got 4 others among 5 \(a, b, c, \.\.\.\)"):
        rename(state, "fepegar_highresnet")


def test_densenet_files_have_dots_where_torchvision_has_none() -> None:
    own = list(densenet121(weights=None).state_dict())
    old = [re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name) for name in own]
    assert old[6] == "features.denseblock1.denselayer1.norm.1.weight", "as in the file of 2017"
    assert sum(a != b for a, b in zip(own, old, strict=True)) == 58 * 12  # layers x (2 norms of 5, 2 convolutions)
    assert [RENAMERS["torchvision_densenet"](name) for name in old] == own
    assert [RENAMERS["torchvision_densenet"](name) for name in own] == own


def test_names_that_stay() -> None:
    for naming in ("torchvision", "published"):
        assert list(rename({"layer1.0.conv1.weight": torch.zeros(1)}, naming)) == ["layer1.0.conv1.weight"]


def sizes(**shapes: tuple[int, ...]) -> dict[str, torch.Size]:
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def test_adaptations_go_in_order_and_say_what_they_did() -> None:
    published = {"stem": torch.rand(4, 3, 5, 5), "deep": torch.rand(6, 4, 3, 3), "bias": torch.rand(6)}
    before = {name: tensor.clone() for name, tensor in published.items()}
    wanted = sizes(stem=(4, 2, 5, 5, 5), deep=(6, 4, 3, 3, 2), bias=(6,))
    rules = {"stem": ("fold", "inflate_mean"), "deep": ("inflate_centre",), "absent": ("sum",)}
    adapted, words = adapt_state(published, {**wanted, **sizes(absent=(1, 1, 1))}, rules)
    assert {name: tensor.shape for name, tensor in adapted.items()} == wanted
    assert words == {
        "stem": "ImageNet normalisation folded in; inflated along depth, the mean: (4, 3, 5, 5) to (4, 2, 5, 5, 5)",
        "deep": "inflated along depth, the centre: (6, 4, 3, 3) to (6, 4, 3, 3, 2)",
    }
    assert adapted["bias"] is published["bias"]
    assert all(torch.equal(published[name], before[name]) for name in before), "the published tensors stay"
    summed = (published["stem"] / torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)).sum(dim=1)
    torch.testing.assert_close(adapted["stem"][:, 0].sum(dim=-1), summed)


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        ("fold", (2, 2, 3, 3)),
        ("sum", (2, 1, 3, 3)),
        ("inflate_mean", (2, 3, 3, 3, 3)),
        ("inflate_centre", (2, 3, 3, 3, 3)),
    ],
)
def test_rules_give_the_wanted_shape_and_say_so(rule: str, shape: tuple[int, ...]) -> None:
    adapted, words = adapt_state({"w": torch.rand(2, 3, 3, 3)}, sizes(w=shape), {"w": (rule,)})
    assert tuple(adapted["w"].shape) == shape
    assert words["w"].endswith(f": (2, 3, 3, 3) to {shape}")


def test_an_axis_is_appended() -> None:
    adapted, words = adapt_state({"w": torch.rand(4, 1, 1)}, sizes(w=(4, 1, 1, 1)), {"w": ("unsqueeze",)})
    assert tuple(adapted["w"].shape) == (4, 1, 1, 1)
    assert words == {"w": "an axis appended for depth: (4, 1, 1) to (4, 1, 1, 1)"}


def test_all_tensors_that_cannot_be_adapted_are_told_at_once() -> None:
    state = {"a": torch.rand(4, 1, 5, 5), "b": torch.rand(4, 3, 5, 5), "c": torch.rand(7)}
    wanted = sizes(a=(4, 2, 5, 5), b=(4, 2, 5, 5), c=(4, 2, 5, 5))
    with pytest.raises(WeightsError, match=r"got a: .*\(4, 1, 5, 5\).* \| c: .*\(7,\).*; use the weights"):
        adapt_state(state, wanted, {"a": ("fold",), "b": ("fold",), "c": ("sum",)})


def test_adaptations_of_another_network_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"among fold, sum, .*, got rule twist, tensor b; take it from"):
        adapt_state({}, sizes(a=(1,)), {"a": ("twist",), "b": ("fold",)})


def test_counters_that_old_files_lack_are_added_as_pytorch_does() -> None:
    norm = torch.nn.BatchNorm2d(3)
    state = {name: tensor for name, tensor in norm.state_dict().items() if name != "num_batches_tracked"}
    old = {f"bn.{name}": tensor for name, tensor in state.items()}
    wanted = {f"{part}.{name}": tensor.shape for part in ("bn", "other") for name, tensor in norm.state_dict().items()}
    adapted, words = adapt_state(old, wanted, {})
    assert set(adapted) - set(old) == {"bn.num_batches_tracked"}, "a layer that the file lacks stays missing"
    assert words == {"bn.num_batches_tracked": "not in the file, counts from 0"}
    torch.nn.ModuleDict({"bn": norm}).load_state_dict(adapted, strict=True)
    assert norm.num_batches_tracked.dtype == adapted["bn.num_batches_tracked"].dtype
    assert norm.num_batches_tracked == 0
