"""HighRes3DNet, with a fresh segmentation head or as an encoder, under MONAI's tensor names."""

from __future__ import annotations

import torch
from monai.networks.nets import HighResNet
from torch import nn

from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.staged import StagedNetwork

_STAGE_BLOCKS = {
    "stem": (0,),
    "dilation1": (1, 2, 3),
    "dilation2": (4, 5, 6),
    "dilation4": (7, 8, 9),
    "neck": (10,),
    "head": (11,),
}


class HighRes3DNet(StagedNetwork):
    """HighRes3DNet (Li et al., IPMI 2017, arXiv:1707.01992): full resolution throughout, dilated residual blocks.

    The body is MONAI's ``HighResNet`` with its tensor names (``blocks.0`` ... ``blocks.10``). MONAI ends the network
    with batch norm and a ReLU, which would cut negative logits; here the head ``blocks.11`` is

    - ``source_head=False``: a 1x1x1 convolution with bias, for a new task;
    - ``source_head=True``: the published head (convolution and batch norm, no ReLU), for the 160 original classes.

    Input ``(B, in_channels, H, W, D)``, output logits ``(B, out_channels, H, W, D)``.

    Args:
        in_channels: input channels.
        out_channels: classes, background included.
        dropout: dropout probability after the last hidden layer.
        source_head: build the published head instead of a new one.
    """

    architecture = "highres3dnet"

    def __init__(
        self, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.0, *, source_head: bool = False
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.dropout = in_channels, out_channels, dropout
        body = HighResNet(
            spatial_dims=3, in_channels=in_channels, out_channels=out_channels, bias=False, dropout_prob=0.0
        )
        self.blocks = body.blocks
        neck, published_head = self.blocks[10], self.blocks[11]
        neck.adn.add_module("D", nn.Dropout3d(dropout))
        if source_head:
            published_head.adn.A = nn.Identity()
        else:
            self.blocks[11] = nn.Conv3d(published_head.conv.in_channels, out_channels, kernel_size=1)
        self.stages = {stage: tuple(f"blocks.{index}" for index in indices) for stage, indices in _STAGE_BLOCKS.items()}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels, H, W, D)`` for an image ``(B, in_channels, H, W, D)``."""
        return self.blocks(image)


class HighRes3DNetEncoder(Encoder):
    """The body of HighRes3DNet as an encoder: five levels, all at full resolution, after the last block of each stage.

    Args:
        in_channels: input channels; the published stem takes 1.
    """

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.architecture, self.spatial_dims = "highres3dnet", 3
        self.in_channels, self.channels = in_channels, (16, 16, 32, 64, 80)
        self.out_channels = self.channels[-1]
        self.strides = ((1, 1, 1),) * len(self.channels)
        body = HighResNet(spatial_dims=3, in_channels=in_channels, out_channels=2, bias=False, dropout_prob=0.0)
        self.blocks = body.blocks[:11]
        self.stages = {
            stage: tuple(f"blocks.{index}" for index in indices)
            for stage, indices in _STAGE_BLOCKS.items()
            if stage != "head"
        }
        self.levels: list[int] = [indices[-1] for stage, indices in _STAGE_BLOCKS.items() if stage != "head"]
        if in_channels != 1:
            self.adaptation = {"blocks.0.conv.weight": ("sum",)}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Five feature maps ``(B, C, H, W, D)`` of an image ``(B, in_channels, H, W, D)``."""
        features: list[torch.Tensor] = []
        for index, block in enumerate(self.blocks):
            image = block(image)
            if index in self.levels:
                features.append(image)
        return features
