"""Random transforms of a training, as a configuration names them."""

from __future__ import annotations

from collections.abc import Sequence

from medtl_monai.bundle.compose.recipe import Step

ANGLE = 0.26  # 15 degrees, in radians
BLUR: Step = {"_target_": "RandGaussianSmoothd", "keys": "image", "prob": 0.2}


def flip(axis: int, keys: str = "@both") -> Step:
    """Mirrored along a spatial axis in half of the cases."""
    return {"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": axis}


def affine(rotations: float | Sequence[float], scale: Sequence[float]) -> Step:
    """Image and label turned and scaled together.

    Args:
        rotations: largest angle in radians, one in 2D, one around each axis in 3D.
        scale: largest relative change of size along each axis.
    """
    return {
        "_target_": "RandAffined",
        "keys": "@both",
        "prob": 0.5,
        "rotate_range": rotations if isinstance(rotations, float) else list(rotations),
        "scale_range": list(scale),
        "mode": ["bilinear", "nearest"],
        "padding_mode": "border",
    }


def affine_2d_image(shift: int) -> Step:
    """A 2D image without label turned by up to 15 degrees, scaled by up to 0.1, moved by up to ``shift`` pixels."""
    return {
        "_target_": "RandAffined",
        "keys": "image",
        "prob": 0.7,
        "rotate_range": ANGLE,
        "scale_range": [0.1, 0.1],
        "translate_range": [shift, shift],
        "mode": "bilinear",
        "padding_mode": "border",
    }


def affine_3d_image() -> Step:
    """A 3D image without label turned by up to 15 degrees and scaled by up to 0.1."""
    return {
        "_target_": "RandAffined",
        "keys": "image",
        "prob": 0.5,
        "rotate_range": [ANGLE] * 3,
        "scale_range": [0.1] * 3,
        "mode": "bilinear",
        "padding_mode": "border",
    }


def contrast(low: float, high: float) -> Step:
    """A gamma curve that keeps mean and variance."""
    return {
        "_target_": "RandAdjustContrastd",
        "keys": "image",
        "prob": 0.3,
        "gamma": [low, high],
        "retain_stats": True,
    }


def brightness(change: float) -> Step:
    """Intensities times a factor of up to 1 plus or minus ``change``."""
    return {"_target_": "RandScaleIntensityd", "keys": "image", "prob": 0.3, "factors": change}


def noise(deviation: float) -> Step:
    """Gaussian noise."""
    return {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.2, "std": deviation}
