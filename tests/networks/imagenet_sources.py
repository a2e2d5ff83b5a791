"""Stand-ins for the published ImageNet files: torchvision's own networks with weights that hide nothing."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.source_head import SOURCE_HEADS
from medtl_monai.weights.adapt import adapt_state

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


@torch.no_grad()
def source_network(architecture: str) -> nn.Module:
    """torchvision's network in evaluation mode; no tensor is constant, batch norm has statistics of real activations.

    Freshly initialised, norms are the identity, ConvNeXt's blocks are scaled by 1e-6 and ViT's logits are all 0: a
    forgotten layer would not show.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = models.get_model(architecture, weights=None)
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and "running" not in name and bool((tensor == tensor.flatten()[0]).all()):
                tensor += 0.1 * torch.randn(tensor.shape)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
            if isinstance(layer, StochasticDepth):
                layer.p = 0.0
        if any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
            network.train()(4 * torch.rand(4, 3, 64, 64) - 2)
    return network.eval()


def without_head(state: dict[str, torch.Tensor], architecture: str) -> dict[str, torch.Tensor]:
    """The tensors outside the published head."""
    return {n: t for n, t in state.items() if not n.startswith(f"{SOURCE_HEADS[architecture]}.")}


def filled(architecture: str, state: dict[str, torch.Tensor], in_channels: int, stem: str) -> ImageNetEncoder:
    """An encoder in evaluation mode, filled strictly from a published state."""
    encoder = build_imagenet_encoder(architecture, in_channels, stem)
    wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    adapted, _ = adapt_state(without_head(state, architecture), wanted, encoder.adaptation)
    encoder.load_state_dict(adapted, strict=True)
    assert isinstance(encoder, ImageNetEncoder)
    return encoder.eval()


def normalised(image: torch.Tensor) -> torch.Tensor:
    """An image in [0, 1] as the published networks take it: RGB, or grey three times."""
    return (image - MEAN) / STD
