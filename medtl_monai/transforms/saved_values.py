"""Masks saved with the label values of the data, where these have gaps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapLabelValue, SaveImaged


class SaveImageValuesd(SaveImaged):
    """``SaveImaged`` that writes ``values[channel]`` for every voxel of a mask of channel numbers.

    Only the file has the values: MONAI Label and MONAI Deploy, which take ``SaveImaged`` out and save themselves, go by
    channel numbers and the names in the metadata.

    Args:
        keys: masks of channel numbers.
        values: the value of each channel.
        settings: the further arguments of ``SaveImaged``.
    """

    def __init__(self, keys: KeysCollection, values: Sequence[int], settings: Mapping[str, Any]) -> None:
        super().__init__(keys, **settings)
        self.renumber = MapLabelValue(range(len(values)), list(values), dtype=torch.int16)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save; the items stay as they are."""
        written = dict(data)
        for key in self.key_iterator(written):
            written[key] = self.renumber(written[key])
        super().__call__(written)
        return dict(data)
