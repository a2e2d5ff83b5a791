"""The folded stem is exact through the whole network: what is left in float32 is rounding, in float64 it is gone."""

from __future__ import annotations

import pytest
import torch

from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES, build_imagenet_encoder
from medtl_monai.weights.adapt import adapt_state
from medtl_monai.weights.stem import IMAGENET_MEAN, IMAGENET_STD
from tests.networks.imagenet_sources import source_network, without_head

SIZE = 64
MEAN, STD = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))


@pytest.mark.parametrize("architecture", IMAGENET_ARCHITECTURES)
def test_every_level_equals_the_replicated_image_in_double_precision(architecture: str) -> None:
    published = without_head(
        {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in source_network(architecture).state_dict().items()
        },
        architecture,
    )
    levels = {}
    grey = torch.rand(1, 1, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for stem, channels, image in (("fold", 1, grey), ("rgb", 3, (grey - MEAN) / STD)):
        encoder = build_imagenet_encoder(architecture, channels, stem).double().eval()
        wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
        state, _ = adapt_state(published, wanted, encoder.adaptation)
        encoder.load_state_dict(state, strict=True)
        with torch.no_grad():
            levels[stem] = encoder(image)
    for folded, expected in zip(levels["fold"], levels["rgb"], strict=True):
        assert (folded - expected).abs().max() <= 1e-9 * expected.abs().max()
