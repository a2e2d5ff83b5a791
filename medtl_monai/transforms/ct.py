"""CT windows by clinical name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from monai.config import KeysCollection
from monai.transforms import Lambdad, MapTransform, ScaleIntensityRanged

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.lookup import look_up
from medtl_monai.transforms.names import case_of, unchanged


class CTWindow(NamedTuple):
    """A display window: its centre and its full width, in HU."""

    level: float
    width: float

    @property
    def low(self) -> float:
        """HU shown black."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """HU shown white."""
        return self.level + self.width / 2


Window = str | Sequence[float]  # a name, or the HU shown black and the HU shown white

CT_WINDOWS = {
    "lung": CTWindow(-600, 1500),
    "mediastinum": CTWindow(40, 400),
    "bone": CTWindow(300, 1500),
    "abdomen": CTWindow(60, 400),
    "brain": CTWindow(40, 80),
    "stroke": CTWindow(40, 40),
    "subdural": CTWindow(80, 200),
}


def ct_window(keys: KeysCollection, window: str | Sequence[float]) -> list[MapTransform]:
    """Scale CT images in HU to [0, 1] by a window of :data:`CT_WINDOWS`, or from one HU to another, and clip.

    When they run, the transforms raise IntensityError on values that cannot be HU (see :func:`require_hu`).

    Raises:
        ConfigError: no window has this name, or the range is none.
    """
    low, high = _bounds(window)
    scaler = ScaleIntensityRanged(keys, a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True)
    return [Lambdad(keys, require_hu), scaler]


def _bounds(window: Window) -> tuple[float, float]:
    if isinstance(window, str):
        named = look_up(CT_WINDOWS, window, "CT window")
        return named.low, named.high
    if not isinstance(window, Sequence) or len(window) != 2 or not float(window[0]) < float(window[1]):
        raise ConfigError("no window", expected="a name, or the HU shown black and the HU shown white", got=window)
    return float(window[0]), float(window[1])


def ct_windows_as_channels(
    keys: KeysCollection, windows: Sequence[Window] = ("brain", "subdural", "bone")
) -> list[MapTransform]:
    """Turn a one-channel CT in HU into as many channels as windows, each scaled to [0, 1].

    When they run, the transforms raise IntensityError on several channels, and on values that cannot be HU.

    Raises:
        ConfigError: no window is named, or an unknown one.
    """
    names = several_windows(windows)
    return [Lambdad(keys, require_hu), Lambdad(keys, partial(windows_as_channels, windows=names))]


def several_windows(windows: str | Sequence[Window]) -> tuple[Window, ...]:
    """Windows, one name or a list of names and ranges. Raises ConfigError on none, or one that is none."""
    names = (windows,) if isinstance(windows, str) else tuple(windows)
    if not names:
        raise ConfigError("no CT window is named", expected="names out of " + ", ".join(CT_WINDOWS), got="nothing")
    for name in names:
        _bounds(name)
    return names


def windows_as_channels(image: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """``(len(windows), H, W[, D])`` in [0, 1] of a CT ``(1, H, W[, D])`` in HU, in float32.

    Raises:
        IntensityError: the image has not one channel.
        ConfigError: no window has this name.
    """
    if image.shape[0] != 1:
        raise IntensityError(
            "a CT has one channel", case=case_of(image), expected="1 channel", got=f"{image.shape[0]} channels"
        )
    hounsfield = image.to(torch.float32)
    chosen = [_bounds(window) for window in windows]
    return torch.cat([((hounsfield - low) / (high - low)).clamp(0.0, 1.0) for low, high in chosen])


def require_hu(image: torch.Tensor) -> torch.Tensor:
    """The image as it is, if its values can be HU.

    Air is -1000 HU, and noise alone makes negative voxels in water; whole numbers from 0 to 255, or fractions from 0
    to 1, are a display picture of a CT.

    Raises:
        IntensityError: all values are whole numbers in [0, 255], or all lie in [0, 1].
    """
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 255 or (high > 1 and not bool((image == image.round()).all())):
        return unchanged(image)
    raise IntensityError(
        "these values cannot be HU",
        case=case_of(image),
        expected="HU: air near -1000, water near 0",
        got=f"{'whole numbers' if high > 1 else 'values'} from {low:g} to {high:g}",
        remedy="read the original CT, not a picture of it; window whole scans, before cropping and scaling",
    )
