"""What a source's own head says of the user's images: probabilities of the source's classes, for LEEP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from medtl_monai.networks.encoder import Encoder, min_sizes, size_multiples
from medtl_monai.networks.highresnet import HighRes3DNet, HighRes3DNetEncoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.padding import pad_to
from medtl_monai.networks.source_head import SOURCE_HEADS, build_source_head
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.fetch import obtain
from medtl_monai.weights.read import read_state_with_hash
from medtl_monai.weights.row import PretrainedWeights

_HIGHRES_HEAD = "blocks.11"
Head = Callable[[torch.Tensor], torch.Tensor]


def voxel_head(row: PretrainedWeights, encoder: Encoder) -> nn.Module | None:
    """The published head that works voxel by voxel on the encoder's last level; None where there is no such head."""
    if not isinstance(encoder, HighRes3DNetEncoder) or encoder.in_channels != row.input.channels:
        return None
    network = HighRes3DNet(encoder.in_channels, row.source_classes, source_head=True)
    network.load_state_dict(dict(_published(row)), strict=True)
    return network.get_submodule(_HIGHRES_HEAD).eval()


def image_head(row: PretrainedWeights, encoder: Encoder) -> Head | None:
    """From an image ``(1, C, H, W[, D])`` to probabilities ``(Z,)`` of the source's classes; None without such a head.

    A head that works voxel by voxel gives the mean of its voxels' probabilities.
    """
    if isinstance(encoder, ImageNetEncoder) and encoder.spatial_dims == 2 and row.architecture in SOURCE_HEADS:
        return _imagenet_head(row, encoder)
    voxelwise = voxel_head(row, encoder)
    if voxelwise is None:
        return None
    return lambda image: voxelwise(encoder(image)[-1]).softmax(dim=1).flatten(2).mean(dim=2)[0]


def _imagenet_head(row: PretrainedWeights, encoder: ImageNetEncoder) -> Head:
    head, name = build_source_head(row.architecture), SOURCE_HEADS[row.architecture]
    state = {key: tensor for key, tensor in _published(row).items() if key.startswith(f"{name}.")}
    head.load_state_dict(state, strict=True)
    head.eval()
    multiple, minimum = size_multiples(encoder), min_sizes(encoder)

    def probabilities(image: torch.Tensor) -> torch.Tensor:
        return head(encoder.source_features(pad_to(image, multiple, minimum))).softmax(dim=1)[0]

    return probabilities


def _published(row: PretrainedWeights) -> Mapping[str, torch.Tensor]:
    return rename(read_state_with_hash(obtain(row), row.sha256)[0], row.naming)
