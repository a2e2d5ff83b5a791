"""SmallUNet: any input size, all of it trained, and the same in script and export."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medtl_monai.errors import ConfigError
from medtl_monai.networks.unet import SmallUNet

SIZES = [(1, 1, 1), (1, 17, 3), (5, 7, 9), (16, 16, 16), (17, 22, 19), (24, 16, 31)]


def narrow(**settings: object) -> SmallUNet:
    torch.manual_seed(3)
    return SmallUNet(channels=(4, 6, 8, 10), **settings)


def next_size(length: int) -> int:
    """Smallest multiple of 8 that is at least 16 and at least ``length``, found by counting."""
    return next(size for size in range(16, 1000, 8) if size >= length)


@pytest.mark.parametrize("size", SIZES)
def test_output_has_the_size_of_the_input(size: tuple[int, int, int]) -> None:
    network = narrow(in_channels=2, out_channels=3)
    for mode in (True, False):
        logits = network.train(mode)(torch.randn(2, 2, *size))
        assert logits.shape == (2, 3, *size)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", SIZES)
def test_equals_padding_and_cropping_by_hand(size: tuple[int, int, int]) -> None:
    network = narrow(out_channels=3).eval()
    image = torch.randn(1, 1, *size)
    index = [torch.arange(next_size(length)).clamp(max=length - 1) for length in size]
    padded = image[:, :, index[0]][:, :, :, index[1]][:, :, :, :, index[2]]  # edge values repeated
    with torch.no_grad():
        expected = network(padded)[:, :, : size[0], : size[1], : size[2]]
        assert torch.equal(network(image), expected)


def test_a_whole_multiple_is_not_padded() -> None:
    """Four levels by hand on 16 x 16 x 24, from the network's own tensors."""
    network = narrow().eval()
    state = network.state_dict()
    image = torch.randn(1, 1, 16, 16, 24)

    def double(name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        for index, step in ((0, stride), (1, 1)):
            x = F.conv3d(x, state[f"{name}.{index}.0.weight"], stride=step, padding=1)
            x = F.instance_norm(x, weight=state[f"{name}.{index}.1.weight"], bias=state[f"{name}.{index}.1.bias"])
            x = torch.where(x > 0, x, 0.01 * x)
        return x

    def up(name: str, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.conv_transpose3d(x, state[f"{name}.up.weight"], state[f"{name}.up.bias"], stride=2)
        return double(f"{name}.mix", torch.cat([x, skip], 1), 1)

    x0 = double("stem", image, 1)
    x1 = double("down1", x0, 2)
    x2 = double("down2", x1, 2)
    x = up("up3", double("down3", x2, 2), x2)
    x = up("up1", up("up2", x, x1), x0)
    expected = F.conv3d(x, state["head_conv.weight"], state["head_conv.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(17, 12, 9), (16, 16, 16)])
def test_gradients_reach_every_parameter(size: tuple[int, int, int]) -> None:
    network = narrow()
    network(torch.randn(2, 1, *size)).square().mean().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_stages_hold_every_tensor_exactly_once() -> None:
    network = narrow()
    assert list(network.stages) == ["stem", "down1", "down2", "down3", "up3", "up2", "up1", "head"]
    modules = [name for names in network.stages.values() for name in names]
    for name in network.state_dict():
        assert sum(name.startswith(f"{module}.") for module in modules) == 1


def test_dropout_acts_in_training_only() -> None:
    network = narrow(dropout=0.5)
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(image), network(image))
        network.eval()
        assert torch.equal(network(image), network(image))


def test_four_levels_are_required() -> None:
    with pytest.raises(ConfigError, match=r"4 channel numbers, got \[8, 16, 32\]"):
        SmallUNet(channels=(8, 16, 32))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("size", [(9, 10, 11)])
def test_script_and_export_agree_with_eager(size: tuple[int, int, int]) -> None:
    network = narrow(out_channels=3).eval()
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        expected = network(image)
        scripted = torch.jit.script(network)
        exported = torch.export.export(network, (image,)).module()(image)
        torch.testing.assert_close(scripted(image), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(exported, expected, rtol=1e-5, atol=1e-5)
        other = torch.randn(1, 1, 18, 7, 25)  # script keeps the padding rule for other sizes
        torch.testing.assert_close(scripted(other), network(other), rtol=1e-5, atol=1e-5)
