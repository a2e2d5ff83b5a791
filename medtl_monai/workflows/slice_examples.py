"""The slices of labelled volumes as single examples, for heads of 2D networks that are fitted in advance."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
from monai.data import MetaTensor
from torch.utils.data import Dataset


class LabelledSlices(Dataset):
    """Every slice with a labelled pixel, of every volume of a data set.

    Slices without any label are left out: a head that is fitted on all of them learns the background.

    Args:
        volumes: items with ``image`` ``(C, H, W, D)`` and ``label`` ``(1, H, W, D)``, and more, such as ``case``.
        axis: spatial axis whose positions are the slices.
    """

    def __init__(self, volumes: Sequence[dict[str, Any]], axis: int) -> None:
        self.volumes, self.axis = volumes, axis
        self._places: list[list[int]] | None = None
        self._last: tuple[int, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return sum(len(places) for places in self._known())

    def __getitem__(self, number: int) -> dict[str, Any]:
        """``image`` and ``label`` of one slice, ``(C, H, W)``; ``case`` and the like as in its volume."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        ends = list(accumulate(len(places) for places in self._known()))
        volume = bisect_right(ends, number)
        place = self._known()[volume][number - (ends[volume - 1] if volume else 0)]
        item = self._volume(volume)
        kept = {key: value for key, value in item.items() if isinstance(value, str)}
        return {**kept, "image": self._slice(item["image"], place), "label": self._slice(item["label"], place)}

    def _slice(self, volume: torch.Tensor, place: int) -> torch.Tensor:
        plain = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
        return plain.select(self.axis + 1, place).clone()

    def _known(self) -> list[list[int]]:
        """Positions of the labelled slices of every volume; all volumes are read once for it."""
        if self._places is None:
            self._places = [self._labelled(self._volume(number)["label"]) for number in range(len(self.volumes))]
        return self._places

    def _labelled(self, label: torch.Tensor) -> list[int]:
        others = [axis for axis in range(label.dim()) if axis != self.axis + 1]
        return cast("list[int]", torch.as_tensor(label).ne(0).sum(dim=others).nonzero().ravel().tolist())

    def _volume(self, number: int) -> dict[str, Any]:
        if self._last is None or self._last[0] != number:
            self._last = (number, self.volumes[number])
        return self._last[1]
