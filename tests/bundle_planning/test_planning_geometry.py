"""Voxel sizes, patches and memory against numbers worked out by hand or measured on real tensors."""

from __future__ import annotations

import math

import pytest
import torch
from planning_data import facts, fingerprint

from medtl_monai.bundle.planning.geometry import (
    along,
    choose_batch,
    choose_side,
    choose_size,
    choose_spacing,
    median_grid,
)
from medtl_monai.bundle.planning.network_facts import SHARE, activation_bytes, network_facts, step_bytes
from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network


def test_median_spacing_stays_where_the_volume_is_not_far_larger() -> None:
    made = choose_spacing([128, 128, 64], [1.0, 1.0, 2.0], [64, 64, 64], 1.0)  # 4 patches
    assert made.value == [1.0, 1.0, 2.0]
    assert "4 patches" in made.reason


def test_a_far_larger_volume_is_shrunken_evenly() -> None:
    made = choose_spacing([256, 256, 256], [1.0, 1.0, 1.0], [64, 64, 64], None)  # 64 patches: (64 / 16)^(1/3)
    assert made.value == pytest.approx([4 ** (1 / 3)] * 3, abs=1e-4)


def test_the_coarse_axis_stays_as_it_is() -> None:
    made = choose_spacing([512, 512, 100], [0.7, 0.7, 5.0], [64, 64, 32], None)  # 200 patches: sqrt(200 / 16)
    assert made.value == pytest.approx([0.7 * math.sqrt(12.5), 0.7 * math.sqrt(12.5), 5.0], abs=1e-4)
    assert "7.1 times the finest" in made.reason
    far = choose_spacing([4096, 4096, 100], [0.7, 0.7, 5.0], [64, 64, 32], None)
    assert far.value == [5.0, 5.0, 5.0]  # never beyond the coarse axis


def test_the_smallest_label_keeps_its_voxels() -> None:
    made = choose_spacing([256, 256, 256], [1.0, 1.0, 1.0], [64, 64, 64], 0.1)  # 100 voxels: (100 / 50)^(1/3)
    assert made.value == pytest.approx([2 ** (1 / 3)] * 3, abs=1e-4)
    assert choose_spacing([256] * 3, [1.0] * 3, [64] * 3, 0.001).value == [1.0, 1.0, 1.0]


def test_a_patch_lies_within_the_median_shape() -> None:
    assert choose_size([36.5, 51, 35], "unet", 3, 8).value == [32, 48, 32]
    assert choose_size([512, 512, 70], "unet", 3, 1000).value == [128, 128, 64]
    assert choose_size([100, 100, 5], "unet", 3, 8).value[2] == 8


@pytest.mark.parametrize("network", ["unet", "highres3dnet"])
def test_a_patch_is_cut_down_to_the_memory_and_no_further(network: str) -> None:
    size = choose_size([300, 300, 80], network, 2, 2).value
    assert step_bytes(network, size, 2, 2) <= SHARE * 2e9
    assert all(edge % 16 == 0 for edge in size)
    larger = [edge + 16 for edge in size]
    assert step_bytes(network, larger, 2, 2) > SHARE * 2e9
    with pytest.raises(ConfigError, match=r"does not fit into the memory; expected .* GB"):
        choose_size([300, 300, 80], "unet_medicalnet_resnet200", 2, 1)


def test_sides_and_batches() -> None:
    assert [choose_side((n, n // 2), "classifier_squeezenet1_0", 2, 8).value for n in (28, 64, 100, 1024)] == [
        64,
        64,
        128,
        224,
    ]
    sizes = {n: choose_batch((64, 64), "classifier_squeezenet1_0", 2, 8, training=n, most=32) for n in (4, 33, 64, 999)}
    assert {n: choice.value for n, choice in sizes.items()} == {4: 2, 33: 8, 64: 16, 999: 32}


@pytest.mark.parametrize(("name", "size"), [("unet", (24, 24, 24)), ("classifier_resnet18", (64, 64))])
def test_memory_is_what_autograd_keeps_of_real_tensors(name: str, size: tuple[int, ...]) -> None:
    network = build_network(name, out_channels=3).train()
    own = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.rand(2, 1, *size))
    assert activation_bytes(name, size, 3) == pytest.approx(sum(kept.values()) / 2, rel=0.01)
    assert network_facts(name).parameters == pytest.approx(sum(p.numel() for p in network.parameters()), rel=0.001)


def test_axes_follow_the_network() -> None:
    assert along([1, 2, 3], "SAR") == [3, 2, 1]
    cases = [facts(str(n), (100, 200, 50), spacing=(0.5, 0.5, edge)) for n, edge in enumerate((2.0, 4.0, 6.0))]
    shape, spacing = median_grid(fingerprint(cases), 3, "SAR")
    assert spacing == [4.0, 0.5, 0.5]
    assert shape == [50, 200, 100]  # extents 100, 200, 300 mm: median 200 mm of 4 mm
    slices = [facts("a", (1, 60, 40), spacing=(3.0, 0.5, 0.7))]
    assert median_grid(fingerprint(slices), 2, "") == ([60, 40], [0.5, 0.7])
