"""SqueezeNet and HighRes3DNet, published or with random initial weights, as encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torchvision.models import squeezenet1_0

from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.highresnet import HighRes3DNetEncoder
from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.networks.inflate import inflate
from medtl_monai.weights.adapt import adapt_state, rename
from medtl_monai.weights.fetch import obtain
from medtl_monai.weights.read import read_state_with_hash
from medtl_monai.weights.registry import pretrained

SQUEEZENET, HIGHRES = "imagenet_squeezenet1_0_pruned", "highres3dnet_gif"
METHODS = ("mean", "centre", "acs")
State = dict[str, torch.Tensor]
Features = dict[str, np.ndarray]


def published_state(source: str) -> State:
    """The tensors of a registry row under the network's own names, the published head left out; hash verified."""
    row = pretrained(source)
    state = rename(read_state_with_hash(obtain(row), row.sha256)[0], row.naming)
    heads = tuple(f"{head}." for head in row.head)
    return {name: tensor for name, tensor in state.items() if not name.startswith(heads)}


def random_squeezenet_state(seed: int) -> State:
    """The tensors of a newly initialised SqueezeNet, as torchvision draws them, its head left out."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = squeezenet1_0(weights=None).state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith("features.")}


def squeezenet(state: Mapping[str, torch.Tensor], method: str | None = None) -> Encoder:
    """SqueezeNet for grey images in [0, 1], in 2D or inflated by ``method``, filled from a state with RGB stem.

    Published and random tensors take the same way: the ImageNet normalisation is folded into the stem of both.
    """
    encoder = build_imagenet_encoder("squeezenet1_0", in_channels=1, stem="fold")
    if method is not None:
        encoder = inflate(encoder, method, depth_stride="same")  # all volumes here are isotropic
    wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    encoder.load_state_dict(adapt_state(state, wanted, encoder.adaptation)[0], strict=True)
    return encoder.eval()


def highres3dnet(seed: int | None) -> Encoder:
    """HighRes3DNet for z-scored volumes: the published one for None, else newly initialised from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0 if seed is None else seed)
        encoder = HighRes3DNetEncoder()
    if seed is None:
        encoder.load_state_dict(published_state(HIGHRES), strict=True)
    return encoder.eval()


Pooling = Callable[[list[torch.Tensor]], torch.Tensor]


def deepest_mean(levels: list[torch.Tensor]) -> torch.Tensor:
    """Global average of the last level, ``(B, C)``."""
    return levels[-1].flatten(2).mean(-1)


def deepest_max(levels: list[torch.Tensor]) -> torch.Tensor:
    """Global maximum of the last level, ``(B, C)``."""
    return levels[-1].flatten(2).amax(-1)


def all_means(levels: list[torch.Tensor]) -> torch.Tensor:
    """Global averages of all levels, one behind the other."""
    return torch.cat([level.flatten(2).mean(-1) for level in levels], dim=1)


def pooled(
    encoder: Encoder, images: torch.Tensor, poolings: Mapping[str, Pooling], *, batch: int, bfloat16: bool = False
) -> Features:
    """Each pooling of the levels of ``images`` ``(N, 1, H, W[, D])``: name -> ``(N, features)`` in float32."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in poolings}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for part in images.split(batch):
            levels = [level.float() for level in encoder(part)]
            for name, pooling in poolings.items():
                parts[name].append(pooling(levels).numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def kept(path: Path, make: Callable[[], Features]) -> Features:
    """The arrays stored at ``path``; made and stored first where there is no such file."""
    if not path.is_file():
        made = make()
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **made)
    with np.load(path) as stored:
        return dict(stored)
