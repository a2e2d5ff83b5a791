"""Seeded state dicts with the names and shapes of the published files, and MedicalNet's published forward pass.

The genuine files cannot be fetched offline, and none of the defects depends on their values. Every tensor is random,
so a network that equals the file at some place has read it there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torchvision import models

from faithful.row import State

Shapes = dict[str, tuple[int, ...]]

# Depth -> blocks of layer1 to layer4, bottleneck, shortcut; parameters as counted in the published networks.
MEDICALNET = {10: ((1, 1, 1, 1), False, "B"), 18: ((2, 2, 2, 2), False, "A"), 50: ((3, 4, 6, 3), True, "B")}
# Stride and dilation of layer1 to layer4 in the repository's models/resnet.py.
_TOPOLOGY = ((1, 1), (2, 1), (1, 2), (1, 4))
# EfficientNet-B0: repeats, kernel, expansion, channels in, channels out (Tan and Le 2019, table 1).
_B0 = (
    (1, 3, 1, 32, 16),
    (2, 3, 6, 16, 24),
    (2, 5, 6, 24, 40),
    (3, 3, 6, 40, 80),
    (3, 5, 6, 80, 112),
    (4, 5, 6, 112, 192),
    (1, 3, 6, 192, 320),
)


def draw(shapes: Mapping[str, Sequence[int]], seed: int) -> State:
    """Random values of a plausible size for every tensor; batch counters are 7."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) > 1:
            state[name] = torch.randn(*shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        elif name.endswith(("running_mean", "bias")):
            state[name] = torch.randn(*shape, generator=generator) * 0.1
        else:
            state[name] = torch.rand(*shape, generator=generator) + 0.5
    return state


def _norm(name: str, channels: int) -> Shapes:
    tensors = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{tensor}": (channels,) for tensor in tensors}, f"{name}.num_batches_tracked": ()}


def medicalnet_state(depth: int, seed: int) -> State:
    """Tensors of a MedicalNet file, ``module.`` taken off."""
    blocks, bottleneck, shortcut = MEDICALNET[depth]
    shapes: Shapes = {"conv1.weight": (64, 1, 7, 7, 7), **_norm("bn1", 64)}
    arriving = 64
    for layer, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        leaving = planes * 4 if bottleneck else planes
        for block in range(count):
            name = f"layer{layer}.{block}"
            shapes.update(_bottleneck(name, arriving, planes) if bottleneck else _basic(name, arriving, planes))
            if shortcut == "B" and block == 0 and (layer > 1 or arriving != leaving):
                shapes[f"{name}.downsample.0.weight"] = (leaving, arriving, 1, 1, 1)
                shapes.update(_norm(f"{name}.downsample.1", leaving))
            arriving = leaving
    return draw(shapes, seed)


def _basic(name: str, arriving: int, planes: int) -> Shapes:
    return {
        f"{name}.conv1.weight": (planes, arriving, 3, 3, 3),
        **_norm(f"{name}.bn1", planes),
        f"{name}.conv2.weight": (planes, planes, 3, 3, 3),
        **_norm(f"{name}.bn2", planes),
    }


def _bottleneck(name: str, arriving: int, planes: int) -> Shapes:
    return {
        f"{name}.conv1.weight": (planes, arriving, 1, 1, 1),
        **_norm(f"{name}.bn1", planes),
        f"{name}.conv2.weight": (planes, planes, 3, 3, 3),
        **_norm(f"{name}.bn2", planes),
        f"{name}.conv3.weight": (planes * 4, planes, 1, 1, 1),
        **_norm(f"{name}.bn3", planes * 4),
    }


def published_file(state: State) -> dict[str, State]:
    """As MedicalNet's files are laid out: wrapped once, and every name prefixed by DataParallel."""
    return {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}


@torch.no_grad()
def medicalnet_forward(state: State, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """The published network in evaluation mode, written with functions alone: outputs of layer1 to layer4."""
    feature = F.relu(_bn(state, "bn1", F.conv3d(image, state["conv1.weight"], stride=2, padding=3)))
    feature = F.max_pool3d(feature, kernel_size=3, stride=2, padding=1)
    outputs: dict[str, torch.Tensor] = {}
    for layer, (stride, dilation) in enumerate(_TOPOLOGY, start=1):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in state:
            feature = _block(state, f"layer{layer}.{block}", feature, stride if block == 0 else 1, dilation)
            block += 1
        outputs[f"layer{layer}"] = feature
    return outputs


def _bn(state: State, name: str, feature: torch.Tensor) -> torch.Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(feature, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])


def _block(state: State, name: str, feature: torch.Tensor, stride: int, dilation: int) -> torch.Tensor:
    if f"{name}.conv3.weight" in state:
        out = F.relu(_bn(state, f"{name}.bn1", F.conv3d(feature, state[f"{name}.conv1.weight"])))
        out = F.conv3d(out, state[f"{name}.conv2.weight"], stride=stride, padding=dilation, dilation=dilation)
        out = F.relu(_bn(state, f"{name}.bn2", out))
        out = _bn(state, f"{name}.bn3", F.conv3d(out, state[f"{name}.conv3.weight"]))
    else:
        out = F.conv3d(feature, state[f"{name}.conv1.weight"], stride=stride, padding=dilation, dilation=dilation)
        out = F.relu(_bn(state, f"{name}.bn1", out))
        out = F.conv3d(out, state[f"{name}.conv2.weight"], padding=dilation, dilation=dilation)
        out = _bn(state, f"{name}.bn2", out)
    if f"{name}.downsample.0.weight" in state:
        feature = F.conv3d(feature, state[f"{name}.downsample.0.weight"], stride=stride)
        feature = _bn(state, f"{name}.downsample.1", feature)
    elif feature.shape != out.shape:  # type A: every stride-th voxel, then channels of zeros
        feature = feature[:, :, ::stride, ::stride, ::stride]
        zeros = feature.new_zeros(feature.shape[0], out.shape[1] - feature.shape[1], *feature.shape[2:])
        feature = torch.cat([feature, zeros], dim=1)
    return F.relu(out + feature)


def torchvision_state(architecture: str, seed: int) -> State:
    """Tensors of one of torchvision's files, under the names that torchvision's network has."""
    network = models.get_model(architecture, weights=None)
    return draw({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, seed)


def densenet_file(state: State) -> State:
    """As ``densenet121-a639ec97.pth`` names them: a dot before the number in a dense layer, no batch counters."""
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])\.")
    return {dotted.sub(r"\1.\2.", n): t for n, t in state.items() if not n.endswith("num_batches_tracked")}


def efficientnet_b0_file(seed: int) -> State:
    """As ``efficientnet-b0-355c32eb.pth`` (lukemelas/EfficientNet-PyTorch) names them: 5,288,548 parameters."""
    shapes: Shapes = {"_conv_stem.weight": (32, 3, 3, 3), **_norm("_bn0", 32)}
    block = 0
    for repeats, kernel, expansion, first, leaving in _B0:
        for repeat in range(repeats):
            shapes.update(_mobile_block(f"_blocks.{block}", kernel, expansion, leaving if repeat else first, leaving))
            block += 1
    shapes.update({"_conv_head.weight": (1280, 320, 1, 1), **_norm("_bn1", 1280)})
    shapes.update({"_fc.weight": (1000, 1280), "_fc.bias": (1000,)})
    return draw(shapes, seed)


def _mobile_block(name: str, kernel: int, expansion: int, arriving: int, leaving: int) -> Shapes:
    wide, squeezed = arriving * expansion, arriving // 4
    shapes: Shapes = {}
    if expansion > 1:
        shapes.update({f"{name}._expand_conv.weight": (wide, arriving, 1, 1), **_norm(f"{name}._bn0", wide)})
    shapes.update({f"{name}._depthwise_conv.weight": (wide, 1, kernel, kernel), **_norm(f"{name}._bn1", wide)})
    shapes.update({f"{name}._se_reduce.weight": (squeezed, wide, 1, 1), f"{name}._se_reduce.bias": (squeezed,)})
    shapes.update({f"{name}._se_expand.weight": (wide, squeezed, 1, 1), f"{name}._se_expand.bias": (wide,)})
    shapes.update({f"{name}._project_conv.weight": (leaving, wide, 1, 1), **_norm(f"{name}._bn2", leaving)})
    return shapes
