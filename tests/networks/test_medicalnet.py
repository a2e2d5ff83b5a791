"""The MedicalNet encoders against the published definition, MONAI's networks and the published counts."""

from __future__ import annotations

import pytest
import torch
from medicalnet_reference import (
    DILATED,
    PUBLISHED,
    UNDILATED,
    encoder,
    monai_features,
    monai_network,
    reference_features,
)
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.medicalnet import DEPTHS, MedicalNetEncoder
from medtl_monai.networks.medicalnet_blocks import PadShortcut
from medtl_monai.networks.staged import parameter_count

FAMILIES = [10, 18, 50]  # basic blocks with shortcut B, basic blocks with shortcut A, bottlenecks with shortcut B


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def largest_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest absolute difference over all levels, relative to each level's largest value."""
    assert [tuple(a.shape) for a in one] == [tuple(b.shape) for b in other]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(one, other, strict=True))


def image_of(*size: int, channels: int = 1, seed: int = 7) -> torch.Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("depth", DEPTHS)
def test_tensors_are_the_published_ones(depth: int, output_stride: int) -> None:
    """Names, order and shapes as MONAI's network for these files; counts as in the published table."""
    with torch.device("meta"):
        ours, other = MedicalNetEncoder(depth, output_stride=output_stride), monai_network(depth)
    assert list(shapes(ours).items()) == list(shapes(other).items())
    assert (len(shapes(ours)), parameter_count(ours)) == PUBLISHED[depth][4:]


def test_the_shortcuts_with_tensors_are_where_size_or_channels_change() -> None:
    def with_tensors(depth: int) -> set[str]:
        with torch.device("meta"):
            names = MedicalNetEncoder(depth).state_dict()
        return {name.split(".downsample")[0] for name in names if "downsample" in name}

    assert with_tensors(10) == {"layer2.0", "layer3.0", "layer4.0"}
    assert with_tensors(18) == with_tensors(34) == set()
    for depth in (50, 101, 152, 200):
        assert with_tensors(depth) == {"layer1.0", "layer2.0", "layer3.0", "layer4.0"}


@pytest.mark.parametrize("depth", FAMILIES)
def test_forward_is_the_published_one(depth: int) -> None:
    network = encoder(depth)
    image = image_of(40, 33, 28)
    with torch.no_grad():
        levels = network(image)
        expected = reference_features(network.state_dict(), depth, image, DILATED)
    assert largest_difference(levels, expected) < 1e-5
    for level, channels, stride in zip(levels, network.channels, network.strides, strict=True):
        assert tuple(level.shape[1:]) == (channels, *(-(-n // s) for n, s in zip((40, 33, 28), stride, strict=True)))


def test_sizes_of_the_published_network() -> None:
    """64 voxels end as 8, 28 as 4."""
    network = encoder(10)
    with torch.no_grad():
        assert network(image_of(64, 16, 16))[-1].shape[2:] == (8, 2, 2)
        assert network(image_of(28, 28, 28))[-1].shape[1:] == (512, 4, 4, 4)


@pytest.mark.parametrize("depth", FAMILIES)
def test_monai_takes_the_same_weights_and_computes_something_else(depth: int) -> None:
    """F3: `load_state_dict` is content, stride and values are not the published ones; the stride-32 variant is that."""
    true, undilated, other = encoder(depth), encoder(depth, output_stride=32), monai_network(depth).eval()
    other.load_state_dict(true.state_dict(), strict=True)
    image = image_of(64, 33, 32)
    with torch.no_grad():
        features, same, theirs = true(image), undilated(image), monai_features(other, image)
    assert theirs[-1].shape[2:] == (2, 2, 1)
    assert features[-1].shape[2:] == (8, 5, 4)
    at_their_voxels = features[-1][:, :, ::4, ::4, ::4]
    assert float((at_their_voxels - theirs[-1]).abs().max() / theirs[-1].abs().max()) > 0.05
    assert largest_difference(same, theirs) < 1e-5
    assert largest_difference(theirs[:3], features[:3]) < 1e-5, "equal until layer3"


@pytest.mark.parametrize("depth", FAMILIES)
def test_stride_32_is_the_undilated_definition(depth: int) -> None:
    network = encoder(depth, output_stride=32)
    image = image_of(40, 33, 28)
    with torch.no_grad():
        expected = reference_features(network.state_dict(), depth, image, UNDILATED)
        assert largest_difference(network(image), expected) < 1e-5
    assert [stride[0] for stride in network.strides] == [2, 4, 8, 16, 32]


def test_gradient_flows_through_the_type_a_shortcut() -> None:
    """F5: with the residual branch silenced, MONAI's block gives a gradient of exactly 0; the values are the same."""
    ours, theirs = encoder(18, output_stride=32).layer2[0], monai_network(18).eval().layer2[0]
    theirs.load_state_dict(ours.state_dict())
    gradients, values = [], []
    for block in (ours, theirs):
        nn.init.zeros_(block.bn2.weight)
        nn.init.zeros_(block.bn2.bias)
        block.bn2.running_mean.zero_()
        image = image_of(6, 5, 4, channels=64).requires_grad_()
        out = block(image)
        out.sum().backward()
        gradients.append(image.grad)
        values.append(out.detach())
    assert torch.equal(values[0], values[1])
    assert gradients[1].abs().max() == 0
    expected = torch.zeros_like(image)  # 1 at every second voxel whose value is positive
    expected[:, :, ::2, ::2, ::2] = (image[:, :, ::2, ::2, ::2] > 0).float()
    assert torch.equal(gradients[0], expected)


def test_pad_shortcut_by_hand() -> None:
    image = torch.arange(2 * 5 * 4 * 3, dtype=torch.float32).reshape(1, 2, 5, 4, 3)
    out = PadShortcut(2, 5, 2)(image)
    assert tuple(out.shape) == (1, 5, 3, 2, 2)
    assert torch.equal(out[:, :2], image[:, :, [0, 2, 4]][:, :, :, [0, 2]][..., [0, 2]])
    assert out[:, 2:].abs().max() == 0


@pytest.mark.parametrize("depth", FAMILIES)
def test_gradient_reaches_every_parameter(depth: int) -> None:
    network = encoder(depth).train()
    (network(image_of(24, 20, 16))[-1] * image_of(3, 3, 2, channels=network.channels[-1])).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert without == []


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("depth", FAMILIES)
def test_scripted_and_exported(depth: int) -> None:
    network, image = encoder(depth), image_of(24, 17, 12)
    with torch.no_grad():
        levels = network(image)
        scripted = torch.jit.script(network)(image)
        exported = torch.export.export(network, (image,)).module()(image)
    for level, one, other in zip(levels, scripted, exported, strict=True):
        assert torch.allclose(level, one, rtol=1e-6, atol=1e-6)
        assert torch.allclose(level, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("output_stride", [8, 32])
def test_what_it_says_of_itself(depth: int, output_stride: int) -> None:
    with torch.device("meta"):
        network = MedicalNetEncoder(depth, output_stride=output_stride)
    assert network.architecture == f"medicalnet_resnet{depth}" + ("_stride32" if output_stride == 32 else "")
    wide = depth >= 50
    assert network.channels == ((64, 256, 512, 1024, 2048) if wide else (64, 64, 128, 256, 512))
    assert (network.spatial_dims, network.in_channels) == (3, 1)
    assert (network.orientation, network.intensity, network.adaptation) == ("SAR", "robust_zscore", {})
    assert list(network.stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    in_stages = [id(p) for stage in network.stages for p in network.stage_parameters(stage)]
    assert sorted(in_stages) == sorted(id(p) for p in network.parameters())


def test_several_channels_share_the_published_stem() -> None:
    """Repeat and divide: an image repeated over the channels gives what one channel gives."""
    one, three = encoder(10), encoder(10, in_channels=3)
    assert three.adaptation == {"conv1.weight": ("sum",)}
    three.load_state_dict({**one.state_dict(), "conv1.weight": one.conv1.weight.data.repeat(1, 3, 1, 1, 1) / 3})
    image = image_of(24, 17, 12)
    with torch.no_grad():
        assert largest_difference(three(image.repeat(1, 3, 1, 1, 1)), one(image)) < 1e-5


def test_initial_values() -> None:
    """Convolutions: standard deviation sqrt(2 / fan_out); batch norm: 1 and 0."""
    torch.manual_seed(3)
    network = MedicalNetEncoder(10)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 5:
            fan_out = parameter.shape[0] * parameter[0, 0].numel()
            assert float(parameter.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
            assert abs(float(parameter.detach().mean())) < 0.05 * (2 / fan_out) ** 0.5, name
        else:
            assert torch.equal(parameter.detach(), torch.full_like(parameter, float(name.endswith("weight")))), name


@pytest.mark.parametrize(("size", "batch"), [((1, 1, 1), 1), ((1, 30, 9), 1), ((2, 3, 4), 2)])
def test_any_size_works(size: tuple[int, int, int], batch: int) -> None:
    for output_stride in (8, 32):
        with torch.no_grad():
            levels = encoder(10, output_stride)(torch.randn(batch, 1, *size))
        assert all(level.isfinite().all() for level in levels)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((12, 1, 8), r"no such depth; expected one of 10, 18, 34, 50, 101, 152, 200, got 12"),
        ((10, 0, 8), r"expected in_channels >= 1, got 0"),
        ((10, 1, 16), r"no such output stride; expected one of 8, 32, got 16"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[int, int, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        MedicalNetEncoder(*arguments)
