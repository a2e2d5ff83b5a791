"""Probabilities of the source's own classes are those of the published network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_0

from medtl_monai.networks.highresnet import HighRes3DNet
from medtl_monai.ranking.encoders import source_encoder
from medtl_monai.ranking.heads import image_head, voxel_head
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.read import read_state
from medtl_monai.weights.registry import pretrained


@pytest.fixture
def weights(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    return real_weights


@torch.no_grad()
def test_imagenet_head_is_torchvisions(weights: Path) -> None:
    row = pretrained("imagenet_squeezenet1_0_pruned")
    reference = squeezenet1_0(weights=None).eval()
    reference.load_state_dict(read_state(weights / "squeezenet1_0" / row.file_name))
    image = torch.rand(1, 1, 224, 224)
    mean, sd = (torch.tensor(values).reshape(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    wanted = reference((image.repeat(1, 3, 1, 1) - mean) / sd).softmax(1)[0]
    head = image_head(row, source_encoder(row.name, 2))
    assert head is not None
    torch.testing.assert_close(head(image), wanted, rtol=1e-3, atol=1e-6)
    assert image_head(row, source_encoder(row.name, 3)) is None  # inflated: no head of its own


@torch.no_grad()
def test_highres3dnet_head_voxel_by_voxel_and_over_the_image(weights: Path) -> None:
    row = pretrained("highres3dnet_gif")
    encoder = source_encoder(row.name, 3)
    reference = HighRes3DNet(1, 160, source_head=True)
    reference.load_state_dict(rename(read_state(weights / "highres3dnet" / row.file_name), row.naming))
    image = torch.randn(1, 1, 12, 12, 12)
    wanted = reference.eval()(image).softmax(1)
    head, whole = voxel_head(row, encoder), image_head(row, encoder)
    assert head is not None
    assert whole is not None
    torch.testing.assert_close(head(encoder(image)[-1]).softmax(1), wanted)
    torch.testing.assert_close(whole(image), wanted.mean(dim=(2, 3, 4))[0])
