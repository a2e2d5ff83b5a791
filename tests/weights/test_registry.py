"""The registry's numbers against the real file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.networks.factory import NETWORKS, build_network
from medtl_monai.weights.adapt import RENAMERS
from medtl_monai.weights.registry import REGISTRY, pretrained

ROWS = list(REGISTRY.values())
EACH_ROW = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


@EACH_ROW
def test_a_row_is_complete(row) -> None:
    assert REGISTRY[row.name] is row
    assert row.architecture in NETWORKS
    assert row.naming in RENAMERS
    assert re.fullmatch(r"[0-9a-f]{64}", row.sha256)
    assert re.fullmatch(r"https://.*/[0-9a-f]{40}/[^/?]+", row.url), "pinned to a commit"
    assert row.file_name == row.url.rsplit("/", 1)[1]
    assert row.licence
    assert row.citation
    assert len(row.input.spacing) == row.input.spatial_dims


def test_numbers_of_highres3dnet_gif(real_weights: Path) -> None:
    row = pretrained("highres3dnet_gif")
    path = real_weights / "highres3dnet" / row.file_name
    content = path.read_bytes()
    assert len(content) == row.size_bytes
    assert hashlib.sha256(content).hexdigest() == row.sha256
    assert row.file_name.removesuffix(".pth").endswith(row.sha256[:8]), "the torch hub suffix is the hash"
    state = torch.load(path, weights_only=True)
    assert len(state) == row.tensors == 126
    learned = {name: tensor for name, tensor in state.items() if name.endswith((".weight", ".bias"))}
    others = {name.rsplit(".", 1)[1] for name in state.keys() - learned.keys()}
    assert others == {"running_mean", "running_var", "num_batches_tracked"}
    assert sum(tensor.numel() for tensor in learned.values()) == row.parameters
    first = state["block.0.convolutional_block.1.weight"]
    assert (first.shape[1], first.ndim - 2) == (row.input.channels, row.input.spatial_dims)
    assert state["block.6.convolutional_block.0.weight"].shape[0] == row.source_classes


def test_licence_file_beside_the_weights(real_weights: Path) -> None:
    text = (real_weights / "highres3dnet" / "LICENSE.upstream").read_text()
    assert pretrained("highres3dnet_gif").licence == "MIT"
    assert "MIT License" in text


@EACH_ROW
def test_the_network_takes_the_declared_input(row) -> None:
    network = build_network(row.architecture, in_channels=row.input.channels).eval()
    with torch.no_grad():
        assert (
            network(torch.zeros(1, row.input.channels, *[4] * row.input.spatial_dims)).ndim
            == 2 + row.input.spatial_dims
        )


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(
        WeightsError, match=r"expected one of highres3dnet_gif, got highresnet_gif; did you mean 'highres3dnet_gif'"
    ):
        pretrained("highresnet_gif")
    with pytest.raises(WeightsError, match="medtl weights list"):
        pretrained("zzz")
