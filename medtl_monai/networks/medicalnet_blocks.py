"""Residual blocks and shortcuts of the MedicalNet 3D ResNets, with the tensor names of the published files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PadShortcut(nn.Module):
    """Type-A shortcut: every ``stride``-th voxel, zero channels appended; no tensors of its own.

    The published code builds its output from ``.data``, which cuts the gradient of the shortcut to zero. Here the
    gradient flows; the values are the same.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out, at least ``in_channels``.
        stride: step along every axis.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added = out_channels - in_channels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, out_channels, H', W', D')`` of ``(B, in_channels, H, W, D)``, with ``H' = ceil(H / stride)``."""
        image = F.avg_pool3d(image, kernel_size=1, stride=self.stride)
        return F.pad(image, [0, 0, 0, 0, 0, 0, 0, self.added])


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Type-B shortcut: strided 1x1x1 convolution without bias (``downsample.0``) and batch norm (``downsample.1``)."""
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False), nn.BatchNorm3d(out_channels)
    )


def conv3(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Conv3d:
    """3x3x3 convolution without bias, padded by its dilation: stride 1 keeps the size."""
    return nn.Conv3d(
        in_channels, out_channels, kernel_size=3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions, both dilated, and a shortcut; ``planes`` channels go out.

    Args:
        in_channels: channels that come in.
        planes: width of the block.
        stride: step of the first convolution.
        dilation: dilation of both convolutions.
        downsample: shortcut where size or channels change, else None.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, dilation: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv3(in_channels, planes, stride, dilation)
        self.bn1 = nn.BatchNorm3d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3(planes, planes, 1, dilation)
        self.bn2 = nn.BatchNorm3d(planes)
        self.downsample = downsample

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, planes, ...)`` of ``(B, in_channels, ...)``."""
        out = self.relu(self.bn1(self.conv1(image)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            image = self.downsample(image)
        return self.relu(out + image)


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 (strided, dilated) and 1x1x1 convolutions and a shortcut; ``4 * planes`` channels go out.

    Args:
        in_channels: channels that come in.
        planes: width of the middle convolution.
        stride: step of the middle convolution.
        dilation: dilation of the middle convolution.
        downsample: shortcut where size or channels change, else None.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, dilation: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, planes, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = conv3(planes, planes, stride, dilation)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, planes * 4, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm3d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, 4 * planes, ...)`` of ``(B, in_channels, ...)``."""
        out = self.relu(self.bn1(self.conv1(image)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            image = self.downsample(image)
        return self.relu(out + image)
