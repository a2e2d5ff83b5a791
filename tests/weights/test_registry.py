"""The registry's numbers against the publishers' own: torchvision's tables, MONAI's networks, the real files."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.networks.nets import resnet as monai_resnet
from torchvision.models import WeightsEnum, get_model, get_model_weights

from medtl_monai.errors import WeightsError
from medtl_monai.networks.factory import build_network
from medtl_monai.weights.adapt import RENAMERS, rename
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights, pretrained

ROWS = list(REGISTRY.values())
CONVERTED = "imagenet_squeezenet1_0_pruned"
TORCHVISION = [row for row in ROWS if row.url.startswith("https://download.pytorch.org/")]
MEDICALNET = [row for row in ROWS if row.name.startswith("medicalnet_")]
V2 = ("resnet50", "resnet101", "resnext50", "mobilenet_v3_large")
ENUM_NAMES = {
    **{f"imagenet_{name}_v2": "IMAGENET1K_V2" for name in V2},
    "imagenet_vit_b_16_swag": "IMAGENET1K_SWAG_LINEAR_V1",
}


def each(rows: list[PretrainedWeights]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def published(row: PretrainedWeights) -> WeightsEnum:
    return get_model_weights(row.architecture)[ENUM_NAMES.get(row.name, "IMAGENET1K_V1")]


def test_the_registry_offers() -> None:
    two_d = [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnext50",
        "densenet121",
        "efficientnet_b0",
        "efficientnet_b3",
        "vgg16_bn",
        "squeezenet1_0",
        "squeezenet1_0_pruned",
        "mobilenet_v3_large",
        "convnext_tiny",
        "swin_t",
        "vit_b_16",
        "vit_b_16_swag",
    ]
    assert set(REGISTRY) == {
        "highres3dnet_gif",
        *(f"imagenet_{name}" for name in two_d),
        *(f"imagenet_{name}_v2" for name in V2),
        *(f"medicalnet_resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200)),
        *(f"medicalnet_resnet{depth}_23datasets" for depth in (10, 18, 34, 50)),
    }
    assert len(TORCHVISION) == 19
    assert len({row.file_name for row in ROWS}) == len({row.sha256 for row in ROWS}) == len(ROWS), "no mix-ups"


@each(ROWS)
def test_a_row_is_complete(row: PretrainedWeights) -> None:
    assert REGISTRY[row.name] is row
    assert re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{8}", row.sha256)
    assert len(row.sha256) == 64 or row.name_carries_hash, "a prefix is what the publisher put into the name"
    assert row.url.startswith("https://")
    if "github.com" in row.url:
        assert re.search(r"/[0-9a-f]{40}/[^/?]+$", row.url), "pinned to a commit"
    assert row.file_name == row.url.rsplit("/", 1)[1] or row.name == CONVERTED
    assert bool(row.converted) == bool(row.stored_as) == (row.name == CONVERTED)
    assert row.commercial_use == (row.licence in {"MIT", "BSD-2-Clause", "BSD-3-Clause"})
    assert row.citation
    assert row.training_data
    assert bool(row.head) == bool(row.source_classes)


@each(ROWS)
def test_an_input_is_complete(row: PretrainedWeights) -> None:
    spec = row.input
    assert spec.preprocessing == {"i": "imagenet", "m": "medicalnet_paper", "h": "zscore"}[row.name[0]]
    assert len(spec.axis_order) == 1 + spec.spatial_dims
    assert spec.spacing is None or len(spec.spacing) == spec.spatial_dims
    assert len(spec.orientation) == (3 if spec.spatial_dims == 3 else 0)
    assert (spec.mean is None) == (spec.std is None) == (spec.value_range is None) == (spec.channels == 1)
    assert (spec.resize is None) == (spec.crop is None) == (spec.interpolation is None) == (spec.spatial_dims == 3)


@each(TORCHVISION)
def test_torchvision_says_the_same(row: PretrainedWeights) -> None:
    weights = published(row)
    transforms = weights.transforms()
    assert row.url == weights.url
    assert re.search(rf"-{row.sha256}\.pth$", weights.url)
    assert row.parameters == weights.meta["num_params"]
    assert row.source_classes == len(weights.meta["categories"])
    mebibytes = weights.meta["_file_size"]
    assert row.size_bytes == pytest.approx(mebibytes * 2**20, abs=1)
    assert row.size_tolerance >= 0.0005 * 2**20
    assert (row.input.crop, row.input.resize) == (*transforms.crop_size, *transforms.resize_size)
    assert row.input.interpolation == transforms.interpolation.value
    assert (row.input.mean, row.input.std) == (tuple(transforms.mean), tuple(transforms.std))
    assert (row.licence == "CC-BY-NC-4.0") == ("SWAG" in weights.meta.get("license", ""))


@each([*TORCHVISION, pretrained(CONVERTED)])
def test_torchvision_builds_what_the_row_counts(row: PretrainedWeights) -> None:
    with torch.device("meta"):
        network = get_model(row.architecture)
    assert len(network.state_dict()) == row.tensors
    assert sum(parameter.numel() for parameter in network.parameters()) == row.parameters
    (head,) = row.head
    assert [
        name for name, _ in network.named_children() if any(True for _ in network.get_submodule(name).parameters())
    ][-1] == head, "the head is the last part that learns"
    last = [parameter for name, parameter in network.named_parameters() if name.startswith(f"{head}.")][-1]
    assert last.shape[0] == row.source_classes
    assert row.naming == ("torchvision_densenet" if row.architecture == "densenet121" else "torchvision")


@each(MEDICALNET)
def test_monai_builds_what_a_medicalnet_row_counts(row: PretrainedWeights) -> None:
    depth = int(re.fullmatch(r"medicalnet_resnet(\d+)(?:_23datasets)?", row.name)[1])
    narrow = depth in (18, 34)  # shortcut A and biased down-sampling: MONAI's own table of the published files
    with torch.device("meta"):
        network = getattr(monai_resnet, f"resnet{depth}")(
            spatial_dims=3,
            n_input_channels=1,
            feed_forward=False,
            shortcut_type="A" if narrow else "B",
            bias_downsample=narrow,
        )
    assert (row.architecture, row.naming, row.head) == (f"medicalnet_resnet{depth}", "published", ())
    assert len(network.state_dict()) == row.tensors
    assert sum(parameter.numel() for parameter in network.parameters()) == row.parameters
    assert (row.input.orientation, row.input.axis_order) == ("SAR", "CDHW")
    ending = "_23dataset" if row.name.endswith("_23datasets") else ""
    assert row.url.endswith(f"/MedicalNet-Resnet{depth}/resolve/main/resnet_{depth}{ending}.pth")


def test_the_one_published_medicalnet_size_supports_the_estimate_of_the_others() -> None:
    row = pretrained("medicalnet_resnet10_23datasets")
    assert row.size_bytes == 57_456_599
    assert pretrained("medicalnet_resnet10").about_bytes == pytest.approx(row.size_bytes, rel=0.001)


def test_numbers_of_highres3dnet_gif(real_weights: Path) -> None:
    row = pretrained("highres3dnet_gif")
    path = real_weights / "highres3dnet" / row.file_name
    content = path.read_bytes()
    assert len(content) == row.size_bytes
    assert hashlib.sha256(content).hexdigest() == row.sha256
    assert row.name_carries_hash, "the torch hub suffix is the hash"
    state = torch.load(path, weights_only=True)
    assert len(state) == row.tensors == 126
    learned = {name: tensor for name, tensor in state.items() if name.endswith((".weight", ".bias"))}
    others = {name.rsplit(".", 1)[1] for name in state.keys() - learned.keys()}
    assert others == {"running_mean", "running_var", "num_batches_tracked"}
    assert sum(tensor.numel() for tensor in learned.values()) == row.parameters
    first = state["block.0.convolutional_block.1.weight"]
    assert (first.shape[1], first.ndim - 2) == (row.input.channels, row.input.spatial_dims)
    assert state["block.6.convolutional_block.0.weight"].shape[0] == row.source_classes
    (head,) = row.head
    last = [old for old, new in zip(state, rename(state, row.naming), strict=True) if new.startswith(f"{head}.")]
    assert last == [name for name in state if name.startswith("block.6.")] != []


def test_numbers_of_the_pruned_squeezenet(real_weights: Path) -> None:
    row = pretrained(CONVERTED)
    path = real_weights / "squeezenet1_0" / row.file_name
    assert path.stat().st_size == row.size_bytes
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
    state = torch.load(path, weights_only=True)
    with torch.device("meta"):
        network = get_model(row.architecture)
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    assert sum(tensor.numel() for tensor in state.values()) == row.parameters
    zeros = sum(int((tensor == 0).sum()) for tensor in state.values())
    assert 0.6 < zeros / row.parameters < 0.7, "two thirds pruned"


def test_licence_files_beside_the_weights(real_weights: Path) -> None:
    assert pretrained("highres3dnet_gif").licence == "MIT"
    assert "MIT License" in (real_weights / "highres3dnet" / "LICENSE.upstream").read_text()
    text = (real_weights / "squeezenet1_0" / "LICENCE.upstream").read_text()
    assert pretrained(CONVERTED).licence == "BSD-2-Clause"
    assert "1. Redistributions of source code" in text
    assert "2. Redistributions in binary form" in text
    assert "3." not in text


def test_the_network_takes_the_declared_input() -> None:
    row = pretrained("highres3dnet_gif")
    network = build_network(row.architecture, in_channels=row.input.channels).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, row.input.channels, 4, 4, 4)).ndim == 2 + row.input.spatial_dims


@each(ROWS)
def test_the_naming_is_known(row: PretrainedWeights) -> None:
    assert row.naming in RENAMERS


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"got highresnet_gif; did you mean 'highres3dnet_gif'\?"):
        pretrained("highresnet_gif")
    with pytest.raises(WeightsError, match=r"did you mean 'medicalnet_resnet18' or 'medicalnet_resnet1"):
        pretrained("medicalnet_18")
    with pytest.raises(WeightsError, match="medtl weights list"):
        pretrained("zzz")


def test_reading_the_registry_imports_no_torch() -> None:
    code = (
        "import sys; from medtl_monai.weights import registry, fetch, licence, commands\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'torchvision', 'monai', 'numpy'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
