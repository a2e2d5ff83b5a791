"""SSF against its formula: scale and shift applied to what the plain layer gives."""

from __future__ import annotations

import pytest
import torch
from peft_toy import Toy, disturb, layer, mixed_body, relative
from torch import nn

from medtl_monai.transfer import peft, ssf

CONVOLUTIONS = ("conv2d", "conv3d", "conv3d strided", "conv3d replicate", "conv3d grouped", "transposed")
SINGLE = (*CONVOLUTIONS, "inflated", "acs", "linear", "batch norm", "instance norm", "group norm", "layer norm")
CHANNELS_LAST = ("linear", "layer norm")


@pytest.mark.parametrize("name", SINGLE)
@torch.no_grad()
def test_scale_and_shift_after_the_layer(name: str) -> None:
    network, plain, image = layer(name)
    ssf.wrap(network)
    disturb(network)
    adapter = peft.adapters(network)["body.parametrizations.bias.0"]
    assert isinstance(adapter, ssf.ScaleAndShift)
    out = plain.eval()(image)
    shape = [-1] if name in CHANNELS_LAST else [-1] + [1] * (out.ndim - 2)
    assert relative(network.body(image), out * adapter.scale.view(shape) + adapter.shift.view(shape)) <= 1e-5


@torch.no_grad()
def test_scale_and_shift_after_the_joint_projection() -> None:
    network, plain, image = layer("attention")
    ssf.wrap(network)
    disturb(network)
    adapter = peft.adapters(network)["body.attention.parametrizations.in_proj_bias.0"]
    assert isinstance(adapter, ssf.ScaleAndShift)
    attention = plain.attention
    wanted = (image @ attention.in_proj_weight.T + attention.in_proj_bias) * adapter.scale + adapter.shift
    wrapped = network.body.attention
    assert relative(image @ wrapped.in_proj_weight.T + wrapped.in_proj_bias, wanted) <= 1e-5


def test_weight_and_bias_share_one_scale() -> None:
    network = Toy(mixed_body())
    ssf.wrap(network)
    lists = network.body[4].parametrizations
    assert lists["weight"][0].scale is lists["bias"][0].scale
    state = network.state_dict()
    state["body.4.parametrizations.weight.0.scale"] = torch.full((8,), 2.0)
    state["body.4.parametrizations.bias.0.scale"] = torch.full((8,), 2.0)
    network.load_state_dict(state)
    assert lists["weight"][0].scale is lists["bias"][0].scale
    network.double()
    assert lists["weight"][0].scale is lists["bias"][0].scale


def test_a_norm_after_a_convolution_can_do_what_the_convolution_could() -> None:
    """Why a convolution without bias loses nothing: its scale and shift pass through a frozen batch norm."""
    torch.manual_seed(0)
    conv, norm = nn.Conv3d(3, 4, 3, padding=1, bias=False).double(), nn.BatchNorm3d(4).double().eval()
    norm.running_mean.copy_(torch.randn(4))
    norm.running_var.copy_(torch.rand(4) + 0.5)
    image, view = torch.randn(1, 3, 4, 4, 4, dtype=torch.double), (1, 4, 1, 1, 1)
    scale, shift = torch.rand(4).double() + 0.5, torch.randn(4).double()
    wanted = norm(conv(image) * scale.view(view) + shift.view(view))
    spread = (norm.running_var + norm.eps).sqrt()
    after = ((scale - 1) * norm.running_mean + shift) / spread
    assert torch.allclose(norm(conv(image)) * scale.view(view) + after.view(view), wanted)


def test_what_cannot_take_a_shift_is_passed_over() -> None:
    network = Toy(
        nn.Sequential(
            nn.Conv2d(8, 8, 1, bias=False),
            nn.BatchNorm2d(8, affine=False),
            nn.ConvTranspose2d(8, 8, 2, groups=2),
            nn.Conv2d(8, 8, 1, groups=8),
            nn.LayerNorm([8, 2, 2], bias=False),
            nn.LayerNorm([8, 2, 2]),
        )
    )
    none = "it has no weight and bias to merge scale and shift into"
    reasons = peft.passed_over(network, ssf.rule)
    assert {name: reasons[name] for name in ("body.0", "body.1", "body.4")} == dict.fromkeys(
        ("body.0", "body.1", "body.4"), none
    )
    assert reasons["body.2"].startswith("the output channels of a grouped transposed convolution")
    ssf.wrap(network)
    assert {name.split(".")[1] for name in peft.adapters(network)} == {"3", "5"}


def test_no_weight_decay_on_scales() -> None:
    network = Toy(mixed_body())
    ssf.wrap(network)
    (group,) = (group for group in ssf.groups(network, 0.01, 0.1) if group["name"] == "scales and shifts")
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.01, 0.0, 8)
    decayed = [g["name"] for g in ssf.groups(network, 0.01, 0.1) if g["weight_decay"]]
    assert decayed == ["class_head.weight"]
