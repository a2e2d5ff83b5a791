"""Attention of 2D transformers on volumes: within each slice, depth beside the batch."""

from __future__ import annotations

import torch
from torchvision.models.swin_transformer import ShiftedWindowAttention, shifted_window_attention


class SlicewiseWindowAttention(ShiftedWindowAttention):
    """Swin's window attention in every slice of ``(B, D, H, W, C)``, with the very tensors of ``attention``."""

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
        """``(B, D, H, W, C) -> (B, D, H, W, C)``."""
        batch, depth = x.shape[0], x.shape[1]
        attended = shifted_window_attention(
            x.flatten(0, 1),
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
        return attended.unflatten(0, [batch, depth])
