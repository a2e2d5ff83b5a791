"""Small networks of one stage with anything in it and a head, and what the tests of the adapters do with them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import ShiftedWindowAttention

from medtl_monai.networks.acs import AcsConv3d
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.imagenet_vit import ViTEncoder
from medtl_monai.networks.inflate_modules import convert_conv
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.transfer import bitfit, lora, peft, ssf

METHODS = {"lora": lora, "ssf": ssf, "bitfit": bitfit}
Layer = Callable[[], nn.Module]


class Attention(nn.Module):
    """``nn.MultiheadAttention`` of tokens ``(B, n, 8)`` with themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Toy(StagedNetwork):
    """A body and a head that sees the mean of what the body gives for every channel, which is axis 1."""

    architecture = "toy"

    def __init__(self, body: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.body = body
        self.class_head = nn.Linear(channels, 2)
        self.stages = {"stage1": ("body",), "head": ("class_head",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.class_head(self.body(image).flatten(2).mean(2))


def mixed_body() -> nn.Module:
    """Batch norm, group norm, dropout, convolutions with and without bias."""
    return nn.Sequential(
        nn.Conv3d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.Dropout3d(0.5),
        nn.Conv3d(8, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.ConvTranspose3d(8, 8, 2, 2),
    )


MIXED = (2, 2, 5, 6, 4)
VOLUME, IMAGE = (2, 6, 5, 6, 4), (2, 6, 7, 6)
LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(12, 10), (2, 3, 12)),
    "linear without bias": (lambda: nn.Linear(12, 10, bias=False), (2, 12)),
    "conv2d": (lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), IMAGE),
    "conv2d dilated": (lambda: nn.Conv2d(6, 8, (3, 2), padding=(2, 1), dilation=2, bias=False), IMAGE),
    "conv3d": (lambda: nn.Conv3d(6, 8, 3, padding=1), VOLUME),
    "conv3d strided": (lambda: nn.Conv3d(6, 8, (3, 3, 1), stride=(2, 1, 1), padding=2, dilation=2), VOLUME),
    "conv3d without bias": (lambda: nn.Conv3d(6, 8, 2, bias=False), VOLUME),
    "conv3d replicate": (lambda: nn.Conv3d(6, 8, 3, padding=1, padding_mode="replicate"), VOLUME),
    "conv3d grouped": (lambda: nn.Conv3d(6, 8, 3, padding=1, groups=2), VOLUME),
    "transposed": (lambda: nn.ConvTranspose3d(6, 8, 2, stride=2), VOLUME),
    "inflated": (lambda: convert_conv(nn.Conv2d(6, 8, 3, padding=1), "mean", True), VOLUME),
    "acs": (lambda: AcsConv3d(nn.Conv2d(6, 9, 3, padding=1), 1, (1, 1)), VOLUME),
    "attention": (Attention, (2, 5, 8)),
    "window attention": (lambda: ShiftedWindowAttention(8, [2, 2], [1, 1], 2), (2, 4, 4, 8)),
    "batch norm": (lambda: nn.BatchNorm3d(6), VOLUME),
    "instance norm": (lambda: nn.InstanceNorm2d(6, affine=True), IMAGE),
    "group norm": (lambda: nn.GroupNorm(3, 6), VOLUME),
    "layer norm": (lambda: nn.LayerNorm(12), (2, 3, 12)),
    "mixed": (mixed_body, MIXED),
}


def layer(name: str) -> tuple[Toy, nn.Module, torch.Tensor]:
    """A network with that layer as its body, norms with trained statistics; a plain copy of the layer; an input."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    body = make()
    for tensor in body.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.3 * torch.rand(tensor.shape))
    network = Toy(body).eval()
    return network, copy.deepcopy(body), torch.randn(shape)


def disturb(network: nn.Module, seed: int = 1) -> None:
    """Give every adapter values as after a training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for adapter in peft.adapters(network).values():
            for parameter in adapter.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def train(network: nn.Module, optimizer: torch.optim.Optimizer, shape: tuple[int, ...], steps: int = 5) -> None:
    """Some steps; the mode is set before every one, as training engines do."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        network.train()
        optimizer.zero_grad()
        out = network(torch.randn(shape, generator=generator)).movedim(1, -1).flatten(0, -2)
        target = torch.randint(0, 2, (len(out),), generator=generator)
        nn.functional.cross_entropy(out, target).backward()
        optimizer.step()


def relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, relative to the largest value wanted."""
    return float((got - wanted).detach().abs().max() / wanted.detach().abs().max())


def conv_network(seed: int = 0) -> nn.Sequential:
    """Convolutions and a batch norm."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 3, 3), nn.BatchNorm3d(3), nn.ReLU(), nn.Conv3d(3, 1, 1))


def walk(network: nn.Module, generator: torch.Generator) -> None:
    """Stands for an optimiser step: moves parameters and statistics."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
            else:
                tensor.add_(1)


NETWORKS = {
    "unet": (1, 1, 16, 16, 16),
    "highres3dnet": (1, 1, 6, 7, 5),
    "unet_squeezenet1_0": (1, 1, 40, 40),
    "classifier_squeezenet1_0_i3d": (1, 1, 24, 24, 3),
    "classifier_squeezenet1_0_acs": (1, 1, 24, 24, 3),
    "vit": (1, 3, 16, 16),
}


def network_of(name: str) -> StagedNetwork:
    """A network by name, or a small Vision Transformer."""
    if name != "vit":
        return build_network(name)
    torch.manual_seed(0)
    vit = VisionTransformer(image_size=16, patch_size=8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=24)
    return TransferClassifier(ViTEncoder("vit_b_16", vit))


def wrapped_toy(method: str) -> Toy:
    """A network with batch norm and dropout, wrapped."""
    torch.manual_seed(0)
    network = Toy(mixed_body())
    METHODS[method].wrap(network)
    return network


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether names, order and every bit are equal."""
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the state dict."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
