"""torchvision's networks that hold their layers in one sequence ``features``, as encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.networks.imagenet_base import ImageNetEncoder


@dataclass(frozen=True)
class Layout:
    """Where the levels and the stages lie in a sequence of layers.

    Attributes:
        stem: name of the first convolution.
        taps: for each level the index of the layer that gives it, the deepest one of its resolution.
        channels: feature channels of each level.
        strides: input pixels per feature pixel of each level.
        cuts: index of the first layer of each stage; the last stage goes to the end.
        min_size: smallest image length that all layers can work on.
        margin: pixels to add before and after an image, so that every level has its length divided by the stride.
    """

    stem: str
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    cuts: tuple[int, ...]
    min_size: int = 1
    margin: tuple[int, int] = (0, 0)


def stages_of(features: nn.Sequential, cuts: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Stages ``stem``, ``stage1``, ... of a sequence ``features`` that is cut before the layers with these indices."""
    names = tuple(f"features.{name}" for name, _ in features.named_children())
    ends = (*cuts[1:], len(names))
    return {
        f"stage{index}" if index else "stem": names[start:end]
        for index, (start, end) in enumerate(zip(cuts, ends, strict=True))
    }


class FeaturesEncoder(ImageNetEncoder):
    """EfficientNet, MobileNetV3, VGG, SqueezeNet and ConvNeXt, as torchvision has them.

    Where the published layers do not pad (the patch convolutions of ConvNeXt, the pools of VGG, the stem of
    SqueezeNet), the pixels left over at the far border of an odd length are not seen, as in torchvision.

    Args:
        architecture: torchvision's name of it.
        features: torchvision's sequence of layers.
        layout: where its levels and stages lie.
    """

    def __init__(self, architecture: str, features: nn.Sequential, layout: Layout) -> None:
        super().__init__(architecture, layout.stem)
        self.features = features
        self.taps = list(layout.taps)
        self.channels = layout.channels
        self.strides = tuple((stride, stride) for stride in layout.strides)
        self.min_size, self.margin = layout.min_size, layout.margin
        self.stages = stages_of(features, layout.cuts)

    def collect(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The output of every tapped layer, in the layers' own axis order."""
        levels: list[torch.Tensor] = []
        feature = self.adapter(image)
        for index, layer in enumerate(self.features):
            feature = layer(feature)
            if index in self.taps:
                levels.append(feature)
        return levels

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps ``(B, channels[i], h, w)`` of an image ``(B, in_channels, H, W)``."""
        return self.collect(image)


class DenseNetEncoder(FeaturesEncoder):
    """DenseNet (Huang et al. 2017, arXiv:1608.06993); its last level is taken after the activation of ``norm5``.

    The levels before are the dense blocks' concatenated outputs, before the norm and activation of the transition.
    """

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Five feature maps, strides 2 to 32, of an image ``(B, in_channels, H, W)``."""
        levels = self.collect(image)
        levels[len(levels) - 1] = F.relu(levels[len(levels) - 1])
        return levels


class SwinEncoder(FeaturesEncoder):
    """Swin Transformer (Liu et al. 2021, arXiv:2103.14030); its last level is taken after the final norm."""

    def __init__(self, architecture: str, features: nn.Sequential, layout: Layout, norm: nn.Module) -> None:
        super().__init__(architecture, features, layout)
        self.norm = norm
        last = list(self.stages)[-1]
        self.stages = {**self.stages, last: (*self.stages[last], "norm")}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Four feature maps, strides 4 to 32, of an image ``(B, in_channels, H, W)``."""
        levels = self.collect(image)
        levels[len(levels) - 1] = self.norm(levels[len(levels) - 1])
        return [level.movedim(-1, 1) for level in levels]
