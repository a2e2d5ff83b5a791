"""torchvision's Vision Transformer as an encoder for images of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torchvision.models import VisionTransformer

from medtl_monai.errors import ConfigError
from medtl_monai.networks.imagenet_base import ImageNetEncoder

_LEVELS = 4


class ViTEncoder(ImageNetEncoder):
    """Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929).

    Levels: the patch tokens after each quarter of the blocks, laid out as maps; the last one after the final norm. All
    have the stride of the patches. The position embedding is resampled (bicubic) for images of another size than the
    published one.

    Args:
        architecture: torchvision's name of it.
        network: torchvision's network, whose modules and parameters are taken over.
    """

    def __init__(self, architecture: str, network: VisionTransformer) -> None:
        super().__init__(architecture, "conv_proj")
        self.class_token = network.class_token
        self.conv_proj = network.conv_proj
        self.encoder = network.encoder
        self.patch = network.patch_size
        self.grid = network.image_size // network.patch_size
        self.width = network.hidden_dim
        self.size_multiple = self.min_size = self.patch
        self.channels = (self.width,) * _LEVELS
        self.strides = ((self.patch, self.patch),) * _LEVELS
        names = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
        self.step = len(names) // _LEVELS
        self.stages = {
            "stem": ("conv_proj", "class_token", "encoder.pos_embedding"),
            **{f"stage{i + 1}": tuple(names[i * self.step : (i + 1) * self.step]) for i in range(_LEVELS)},
        }
        self.stages = {**self.stages, f"stage{_LEVELS}": (*self.stages[f"stage{_LEVELS}"], "encoder.ln")}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Four feature maps ``(B, channels, H / 16, W / 16)`` of an image ``(B, in_channels, H, W)``.

        Raises ConfigError if a length is not a multiple of the patch size: the rest would not be seen.
        """
        height, width = image.shape[2] // self.patch, image.shape[3] // self.patch
        return [
            tokens[:, 1:].transpose(1, 2).reshape([image.shape[0], self.width, height, width])
            for tokens in self.tokens(image)
        ]

    def source_features(self, image: torch.Tensor) -> torch.Tensor:
        """The class token ``(B, channels)`` after the final norm."""
        tokens = self.tokens(image)
        return tokens[len(tokens) - 1][:, 0]

    def tokens(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Class token and patch tokens ``(B, 1 + h * w, channels)`` of each level, the last one after the final norm.

        Raises ConfigError if a length is not a multiple of the patch size.
        """
        embedded = self.patches(image)
        height, width = embedded.shape[2], embedded.shape[3]
        token = torch.cat(
            [self.class_token.expand(embedded.shape[0], -1, -1), embedded.flatten(2).transpose(1, 2)], dim=1
        )
        token = self.encoder.dropout(token + self.positions(height, width))
        levels: list[torch.Tensor] = []
        for index, block in enumerate(self.encoder.layers):
            token = block(token)
            if (index + 1) % self.step == 0:
                levels.append(token)
        levels[len(levels) - 1] = self.encoder.ln(levels[len(levels) - 1])
        return levels

    def patches(self, image: torch.Tensor) -> torch.Tensor:
        """Embedded patches ``(B, channels, h, w)``, before any position. Raises ConfigError as :meth:`tokens` does."""
        self.require_patches(image)
        return self.conv_proj(self.adapter(image))

    def require_patches(self, image: torch.Tensor) -> None:
        """Raise ConfigError unless height and width are multiples of the patch size."""
        if image.shape[2] % self.patch != 0 or image.shape[3] % self.patch != 0:
            if not torch.jit.is_scripting():
                raise ConfigError(
                    "the image does not divide into patches",
                    expected=f"height and width that are multiples of {self.patch}",
                    got=f"{image.shape[2]} x {image.shape[3]}",
                    remedy="pad the image",
                )
            raise ValueError("the image does not divide into patches: pad it")

    def positions(self, height: int, width: int) -> torch.Tensor:
        """Position embedding ``(1, 1 + height * width, channels)``; the published one where the grid is its own."""
        published = self.encoder.pos_embedding
        if height == self.grid and width == self.grid:
            return published
        grid = published[:, 1:].transpose(1, 2).reshape([1, self.width, self.grid, self.grid])
        resampled = F.interpolate(grid, size=[height, width], mode="bicubic", align_corners=False)
        return torch.cat([published[:, :1], resampled.flatten(2).transpose(1, 2)], dim=1)
