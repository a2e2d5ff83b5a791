"""Published tensor names to MONAI's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import HighResNet

from medtl_monai.errors import WeightsError
from medtl_monai.weights.adapt import fepegar_highresnet_name, rename
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
