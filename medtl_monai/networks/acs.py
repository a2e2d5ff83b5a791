"""ACS convolution: the 2D kernels of a pretrained network looking along three axes of a volume."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.weights.inflation import centre_tap


def view_split(count: int) -> tuple[int, int, int]:
    """``count`` channels shared out to the axial, coronal and sagittal view; the first views get the remainder."""
    share, rest = divmod(count, 3)
    return share + (rest > 0), share + (rest > 1), share


class AcsConv3d(nn.Module):
    """Axial, coronal and sagittal 2D convolutions side by side (Yang et al. 2021, arXiv:1911.10477).

    ``(B, in, H, W, D) -> (B, out, H', W', D')`` with the parameters of a 2D convolution, names and shapes unchanged:
    a published 2D file loads as it is. The first third of the output channels uses its kernels as ``(k, k, 1)``, the
    second as ``(k, 1, k)``, the last as ``(1, k, k)``. In a grouped convolution the groups are shared out instead.

    Sizes along H and W are those of the 2D convolution. In-plane padding is zeros as in 2D, padding along depth
    repeats the outermost slice. A view that is one voxel thin along an axis looks at the middle tap of the kernel's
    window. A 1x1 convolution is the plain 1x1x1 one.

    Args:
        conv: the 2D convolution; its parameters are copied.
        depth_stride: stride along depth.
        depth_padding: slices to add before the first and after the last.

    Raises:
        ConfigError: kernel, stride, padding and dilation are not the same along both axes.
    """

    def __init__(self, conv: nn.Conv2d, depth_stride: int, depth_padding: tuple[int, int]) -> None:
        super().__init__()
        settings = {"kernel_size": conv.kernel_size, "stride": conv.stride, "dilation": conv.dilation}
        unequal = {name: pair for name, pair in settings.items() if pair[0] != pair[1]}
        if unequal or conv.padding[0] != conv.padding[1]:
            raise ConfigError(
                "ACS convolution needs a kernel that is the same along both axes",
                expected="equal kernel size, stride, padding and dilation along H and W",
                got=str(conv),
                remedy="inflate with 'mean' or 'centre'",
            )
        self.groups, self.dilation, self.padding = conv.groups, conv.dilation[0], int(conv.padding[0])
        self.stride = [conv.stride[0], conv.stride[1], depth_stride]
        self.front, self.back = depth_padding
        kernel = conv.kernel_size[0]
        self.kernel = kernel
        self.before = centre_tap(kernel) * self.dilation
        self.after = (kernel - 1) * self.dilation - self.before
        self.outputs, self.inputs, self.view_groups = _shares(conv)
        self.views = sum(count > 0 for count in self.outputs)
        self.weight = nn.Parameter(conv.weight.detach().clone(), conv.weight.requires_grad)
        if conv.bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(conv.bias.detach().clone(), conv.bias.requires_grad)

    def extra_repr(self) -> str:
        """Weight shape and settings for ``print``."""
        return f"weight={tuple(self.weight.shape)}, views={self.outputs}, stride={self.stride}, groups={self.groups}"

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """``(B, in, H, W, D) -> (B, out, H', W', D')``."""
        if self.padding > 0:
            side = self.padding
            volume = F.pad(volume, [0, 0, side, side, side, side])
        if self.front + self.back > 0:
            volume = F.pad(volume, [self.front, self.back, 0, 0, 0, 0], mode="replicate")
        if self.kernel == 1:
            weight = self.weight.unsqueeze(4)
            return F.conv3d(volume, weight, self.bias, self.stride, [0, 0, 0], [1, 1, 1], self.groups)
        features = torch.cat([self._view(volume, index) for index in range(self.views)], dim=1)
        bias = self.bias
        return features if bias is None else features + bias.view(-1, 1, 1, 1)

    def _view(self, volume: torch.Tensor, index: int) -> torch.Tensor:
        thin = 4 - index  # axis along which this view is one voxel thick: D, W, H
        weight = self.weight.narrow(0, sum(self.outputs[:index]), self.outputs[index]).unsqueeze(thin)
        if self.groups > 1:
            volume = volume.narrow(1, sum(self.inputs[:index]), self.inputs[index])
        volume = volume.narrow(thin, self.before, volume.shape[thin] - self.before - self.after)
        dilation = [self.dilation, self.dilation, self.dilation]
        return F.conv3d(volume, weight, None, self.stride, [0, 0, 0], dilation, self.view_groups[index])


def _shares(conv: nn.Conv2d) -> tuple[list[int], list[int], list[int]]:
    """Output channels, input channels and groups of each view."""
    if conv.groups == 1:
        return list(view_split(conv.out_channels)), [conv.in_channels] * 3, [1, 1, 1]
    groups = list(view_split(conv.groups))
    outputs = [count * (conv.out_channels // conv.groups) for count in groups]
    return outputs, [count * (conv.in_channels // conv.groups) for count in groups], groups
