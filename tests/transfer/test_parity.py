"""The loaded network computes what the published one does, and a planted difference is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medtl_monai.errors import WeightsError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.parity import source_parity
from medtl_monai.transfer.source import load_source
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.fetch import obtain
from medtl_monai.weights.read import read_state
from medtl_monai.weights.registry import pretrained

SQUEEZENET, GIF = "imagenet_squeezenet1_0_pruned", "highres3dnet_gif"


@pytest.fixture(autouse=True)
def folder(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("unet_squeezenet1_0", SQUEEZENET),
        ("classifier_squeezenet1_0", SQUEEZENET),
        ("highres3dnet", GIF),
        ("classifier_highres3dnet", GIF),
    ],
)
def test_real_weights_give_the_logits_of_the_source(name: str, source: str) -> None:
    network = build_network(name).train()
    report = load_source(network, source, check_parity=True)
    assert report is not None
    assert report.parity is not None
    assert report.parity <= 1e-5
    assert network.training
    assert "parity" in report.table()
    assert report.as_dict()["parity"] == report.parity


@pytest.mark.parametrize(("name", "source"), [("unet_squeezenet1_0", SQUEEZENET), ("highres3dnet", GIF)])
def test_one_wrong_stem_weight_is_refused(name: str, source: str) -> None:
    network = build_network(name)
    load_source(network, source)
    with torch.no_grad():
        next(network.parameters()).view(-1)[:20] += 0.5
    row = pretrained(source)
    with pytest.raises(WeightsError, match="does not compute what the published one does"):
        source_parity(network, row, rename(read_state(obtain(row)), row.naming))


def test_an_inflated_network_has_no_logits_to_compare() -> None:
    report = load_source(build_network("unet_squeezenet1_0_i3d"), SQUEEZENET, check_parity=True)
    assert report is not None
    assert report.parity is None
