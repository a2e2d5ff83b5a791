"""Attention of 2D transformers on volumes: within each slice, depth beside the batch."""

from __future__ import annotations

import torch
from torchvision.models.swin_transformer import PatchMerging, ShiftedWindowAttention, shifted_window_attention

from medtl_monai.networks.imagenet_vit import ViTEncoder


class SlicewiseWindowAttention(ShiftedWindowAttention):
    """Swin's window attention in every slice of ``(B, H, W, D, C)``, with the very tensors of ``attention``."""

    def __init__(self, attention: ShiftedWindowAttention) -> None:
        super().__init__(
            attention.qkv.in_features,
            attention.window_size,
            attention.shift_size,
            attention.num_heads,
            attention.qkv.bias is not None,
            attention.proj.bias is not None,
            attention.attention_dropout,
            attention.dropout,
        )
        self._parameters, self._buffers, self._modules = attention._parameters, attention._buffers, attention._modules

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, D, C) -> (B, H, W, D, C)``."""
        batch, depth = x.shape[0], x.shape[3]
        attended = shifted_window_attention(
            x.permute(0, 3, 1, 2, 4).flatten(0, 1),
            self.qkv.weight,
            self.proj.weight,
            self.get_relative_position_bias(),
            self.window_size,
            self.num_heads,
            shift_size=self.shift_size,
            attention_dropout=self.attention_dropout,
            dropout=self.dropout,
            qkv_bias=self.qkv.bias,
            proj_bias=self.proj.bias,
            training=self.training,
        )
        return attended.unflatten(0, [batch, depth]).permute(0, 2, 3, 1, 4)


class SlicewisePatchMerging(PatchMerging):
    """Swin's 2 x 2 patch merging in every slice of ``(B, H, W, D, C)``, with the very tensors of ``merging``."""

    def __init__(self, merging: PatchMerging) -> None:
        super().__init__(merging.dim)
        self._modules = merging._modules

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, H, W, D, C) -> (B, ceil(H / 2), ceil(W / 2), D, 2 C)``."""
        height, width = x.shape[1], x.shape[2]
        x = torch.nn.functional.pad(x, [0, 0, 0, 0, 0, width % 2, 0, height % 2])
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class SlicewiseViTEncoder(ViTEncoder):
    """Vision Transformer whose blocks work within each slice of a volume; slices mix in the patch embedding only."""

    def __init__(self, encoder: ViTEncoder) -> None:
        torch.nn.Module.__init__(self)  # the published layers are taken over, not built
        self.__dict__.update(encoder.__dict__)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Four feature maps ``(B, channels, H / 16, W / 16, D')`` of a volume ``(B, in_channels, H, W, D)``.

        Raises ConfigError if height or width is not a multiple of the patch size.
        """
        height, width = image.shape[2] // self.patch, image.shape[3] // self.patch
        levels: list[torch.Tensor] = []
        for tokens in self.tokens(image):
            maps = tokens[:, 1:].transpose(1, 2).reshape([image.shape[0], -1, self.width, height, width])
            levels.append(maps.permute(0, 2, 3, 4, 1))
        return levels

    def source_features(self, image: torch.Tensor) -> torch.Tensor:
        """The class token after the final norm, averaged over the slices: ``(B, channels)``."""
        tokens = self.tokens(image)
        return tokens[len(tokens) - 1][:, 0].reshape([image.shape[0], -1, self.width]).mean(dim=1)

    def patches(self, image: torch.Tensor) -> torch.Tensor:
        """Embedded patches ``(B * D', channels, h, w)``: slices count as images. Raises ConfigError as before."""
        self.require_patches(image)
        return self.conv_proj(self.adapter(image)).permute(0, 4, 1, 2, 3).flatten(0, 1)
