"""The 3D pooling layers that the 2D ones become; depth is the last axis."""

from __future__ import annotations

from torch import nn

from medtl_monai.errors import ConfigError

_Size = int | tuple[int, ...]


def _triple(value: _Size, depth: int | None) -> tuple[int, int, int]:
    """``value`` along H and W; along depth ``depth``, or the value of H where that is None."""
    height, width = (value, value) if isinstance(value, int) else (value[0], value[1])
    return height, width, height if depth is None else depth


def convert_max_pool(pool: nn.MaxPool2d, keep_depth: bool) -> nn.MaxPool3d:
    """The 3D maximum; with ``keep_depth`` within each slice only."""
    one, none = (1, 0) if keep_depth else (None, None)
    return nn.MaxPool3d(
        _triple(pool.kernel_size, one),
        _triple(pool.stride, one),
        _triple(pool.padding, none),
        _triple(pool.dilation, one),
        pool.return_indices,
        pool.ceil_mode,
    )


def convert_average_pool(pool: nn.AvgPool2d, keep_depth: bool) -> nn.AvgPool3d:
    """The 3D average; with ``keep_depth`` within each slice only.

    Raises ConfigError where zeros padded along depth, or a divisor of its own, would change the average.
    """
    padded = not keep_depth and _triple(pool.padding, None)[2] > 0 and pool.count_include_pad
    if padded or pool.divisor_override is not None:
        raise ConfigError(
            "this average pool cannot be inflated",
            expected="no divisor of its own and no zeros counted along depth",
            got=str(pool),
            remedy="keep the depth: depth_stride='one'",
        )
    one, none = (1, 0) if keep_depth else (None, None)
    return nn.AvgPool3d(
        _triple(pool.kernel_size, one),
        _triple(pool.stride, one),
        _triple(pool.padding, none),
        pool.ceil_mode,
        pool.count_include_pad,
    )


def convert_adaptive_pool(pool: nn.AdaptiveAvgPool2d) -> nn.AdaptiveAvgPool3d:
    """The average over the whole volume (squeeze-and-excitation). Raises ConfigError for an output larger than 1."""
    if pool.output_size not in (1, (1, 1)):
        raise ConfigError("this adaptive pool cannot be inflated", expected="output size 1", got=pool.output_size)
    return nn.AdaptiveAvgPool3d(1)
