"""The 3D layers that the layers of a 2D encoder become; depth is the last axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.convnext import CNBlock, LayerNorm2d
from torchvision.ops.misc import Permute

from medtl_monai.errors import ConfigError
from medtl_monai.networks.acs import AcsConv3d
from medtl_monai.weights.inflation import centre_tap, inflate_centre, inflate_mean

KERNELS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {"mean": inflate_mean, "centre": inflate_centre}


class InflatedConv3d(nn.Conv3d):
    """A 3D convolution that pads with zeros in plane and with copies of the outermost slice along depth.

    The copies make it exact: a volume that is the same in every slice gives the 2D result in every slice, while zeros
    would take their share out of the border slices.

    Attributes:
        front, back: slices added before the first and after the last one.
    """

    def __init__(
        self, conv: nn.Conv2d, weight: torch.Tensor, depth_stride: int, depth_padding: tuple[int, int]
    ) -> None:
        depth = weight.shape[-1]
        with torch.device("meta"):  # the initial values would be thrown away
            super().__init__(
                conv.in_channels,
                conv.out_channels,
                (*conv.kernel_size, depth),
                (*conv.stride, depth_stride),
                (*(int(side) for side in conv.padding), 0),
                (*conv.dilation, 1 if depth == 1 else conv.dilation[0]),
                conv.groups,
                bias=conv.bias is not None,
            )
        self.front, self.back = depth_padding
        self.weight = nn.Parameter(weight, conv.weight.requires_grad)
        if conv.bias is not None:
            self.bias = nn.Parameter(conv.bias.detach().clone(), conv.bias.requires_grad)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(B, in, H, W, D) -> (B, out, H', W', D')``."""
        if self.front + self.back > 0:
            input = F.pad(input, [self.front, self.back, 0, 0, 0, 0], mode="replicate")
        return self._conv_forward(input, self.weight, self.bias)


class LayerNorm3d(nn.LayerNorm):
    """Layer norm over the channels of ``(B, C, H, W, D)``: ConvNeXt's, one axis more."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(B, C, H, W, D) -> (B, C, H, W, D)``."""
        last = input.permute(0, 2, 3, 4, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 4, 1, 2, 3)


def require_plain_padding(conv: nn.Conv2d) -> None:
    """Raise ConfigError unless a convolution pads with zeros by numbers."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ConfigError(
            "this convolution cannot be inflated",
            expected="zero padding given by numbers",
            got=f"padding {conv.padding!r}, mode {conv.padding_mode!r}",
        )


def convert_conv(conv: nn.Conv2d, method: str, keep_depth: bool) -> nn.Module:
    """The 3D convolution of a 2D one, kernel as deep as wide.

    With ``keep_depth`` the stride along depth is 1 and the padding keeps every slice; otherwise stride and padding
    along depth are those in plane.
    """
    require_plain_padding(conv)
    depth = conv.kernel_size[0]
    reach = (depth - 1) * conv.dilation[0]
    front = centre_tap(depth) * conv.dilation[0]
    side = int(conv.padding[0])
    padding = (front, reach - front) if keep_depth else (side, side)
    stride = 1 if keep_depth else conv.stride[0]
    if method == "acs":
        return AcsConv3d(conv, stride, padding)
    return InflatedConv3d(conv, KERNELS[method](conv.weight.detach(), depth), stride, padding)


def convert_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm3d:
    """The 3D batch norm with the same parameters, running statistics, eps and momentum (the very same tensors)."""
    converted = nn.BatchNorm3d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    converted._parameters, converted._buffers = norm._parameters, norm._buffers
    return converted


def convert_layer_norm(norm: LayerNorm2d) -> LayerNorm3d:
    """The channel layer norm of volumes with the same parameters."""
    converted = LayerNorm3d(norm.normalized_shape, norm.eps, norm.elementwise_affine)
    converted._parameters = norm._parameters
    return converted


def convert_permute(permute: Permute) -> Permute:
    """Channels last ``(B, H, W, D, C)`` and back. Raises ConfigError for any other order of axes."""
    orders = {(0, 2, 3, 1): [0, 2, 3, 4, 1], (0, 3, 1, 2): [0, 4, 1, 2, 3]}
    if tuple(permute.dims) not in orders:
        raise ConfigError("this order of axes cannot be inflated", expected="channels last or first", got=permute.dims)
    return Permute(orders[tuple(permute.dims)])


def scale_over_volumes(block: CNBlock) -> None:
    """Give a ConvNeXt block's layer scale ``(C, 1, 1)`` the shape ``(C, 1, 1, 1)``, in place."""
    scale = block.layer_scale
    block.layer_scale = nn.Parameter(scale.detach().unsqueeze(-1), scale.requires_grad)
