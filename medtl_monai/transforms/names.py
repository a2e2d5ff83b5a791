"""Naming the image in an error, and passing on what was only looked at."""

from __future__ import annotations

import torch


def case_of(image: torch.Tensor) -> str | None:
    """The case, or else the file, that the meta data of a MONAI image name; None without them."""
    meta = getattr(image, "meta", {})
    return meta.get("case") or meta.get("filename_or_obj") or None


def unchanged(image: torch.Tensor) -> torch.Tensor:
    """A view of the image with its own meta data: MONAI's transforms write their trace into what they return."""
    return image[...]
