"""The same input gives the same logits as in the source network: checked where the source's own head exists."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.networks.nets import HighResNet
from torch import nn

from medtl_monai.errors import WeightsError
from medtl_monai.networks.highresnet import HighRes3DNet, HighRes3DNetEncoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.source_head import parity
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.matching import encoder_of
from medtl_monai.weights.registry import PretrainedWeights

# Rounding in float32 was measured at 1e-7 to 1e-5 of the largest logit; one stem filled wrongly gives 1e-1 and more.
LIMIT = 1e-3
_SIZE, _SEED = 20, 2025


def source_parity(
    network: StagedNetwork, row: PretrainedWeights, published: Mapping[str, torch.Tensor]
) -> float | None:
    """Largest difference of the logits of a filled network, under the source's own head, to the published network.

    It is relative to the largest logit where that is above 1. The reference is torchvision's network, or MONAI's
    HighResNet, filled strictly with the published tensors.

    Returns:
        The difference, or None where the published file has no head (MedicalNet) or the network has other dimensions
        or input channels than the published one (an inflated network).

    Raises:
        WeightsError: the difference is above :data:`LIMIT`: the network is not the published one.
    """
    encoder = encoder_of(network)
    difference = None
    if isinstance(encoder, ImageNetEncoder) and encoder.spatial_dims == row.input.spatial_dims:
        difference = parity(encoder, published, row.architecture)
    elif isinstance(network if encoder is None else encoder, HighRes3DNet | HighRes3DNetEncoder):
        difference = _highresnet_parity(network if encoder is None else encoder, published)
    if difference is not None and not difference <= LIMIT:
        raise WeightsError(
            f"the network filled from {row.name!r} does not compute what the published one does",
            expected=f"logits within {LIMIT:g} of the largest",
            got=f"a difference of {difference:g}",
            remedy="please report this as a defect, with the versions of torch and torchvision",
        )
    return difference


@torch.no_grad()
def _highresnet_parity(network: StagedNetwork, published: Mapping[str, torch.Tensor]) -> float | None:
    blocks = network.get_submodule("blocks")
    if network.in_channels != 1 or not isinstance(blocks, nn.Sequential):
        return None
    classes = len(published["blocks.11.adn.N.weight"])
    reference = HighResNet(spatial_dims=3, in_channels=1, out_channels=classes, bias=False, dropout_prob=0.0)
    reference.load_state_dict(dict(published))
    with_head = HighRes3DNet(1, classes, source_head=True)
    with_head.load_state_dict(dict(published))
    image = torch.randn(1, 1, _SIZE, _SIZE, _SIZE, generator=torch.Generator().manual_seed(_SEED))
    training = network.training
    network.eval()
    logits = with_head.eval().get_submodule("blocks.11")(blocks[:11](image))
    network.train(training)
    wanted = reference.eval()(image)  # MONAI ends with a ReLU
    return float((logits.relu() - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))
