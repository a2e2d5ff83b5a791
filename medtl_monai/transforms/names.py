"""Finding things by name, naming the image in an error, and passing on what was only looked at."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

import torch

from medtl_monai.errors import ConfigError

Value = TypeVar("Value")


def look_up(table: Mapping[str, Value], name: str, what: str) -> Value:
    """The entry of a name. Raises ConfigError, with the nearest name, if there is none."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), table, n=1)
    raise ConfigError(
        f"unknown {what}",
        expected="one of " + ", ".join(table),
        got=name,
        remedy=f"did you mean {near[0]!r}?" if near else None,
    )


def case_of(image: torch.Tensor) -> str | None:
    """The case, or else the file, that the meta data of a MONAI image name; None without them."""
    meta = getattr(image, "meta", {})
    return meta.get("case") or meta.get("filename_or_obj") or None


def unchanged(image: torch.Tensor) -> torch.Tensor:
    """A view of the image with its own meta data: MONAI's transforms write their trace into what they return."""
    return image[...]
