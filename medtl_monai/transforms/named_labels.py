"""Labels of MONAI Label's clients, loaded with the values of the task."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from medtl_monai.data.label_order import in_task_order
from medtl_monai.io.reader import VolumeReader


class LoadNamedLabeld(LoadImaged):
    """``LoadImaged`` for label maps that gives every voxel the value that its segment's name has in this task.

    Files from anywhere but a MONAI Label datastore keep their values. See `medtl_monai.data.label_order`.

    Args:
        keys: keys of label files (NIfTI).
        label_names: the task's values as text and their names, ``{"0": "background", "1": ...}``.

    Raises:
        FormatError, GeometryError, LabelError: when it runs, a file that cannot be read, or segments whose names the
            task does not know.
    """

    def __init__(self, keys: KeysCollection, label_names: Mapping[str, str]) -> None:
        super().__init__(keys, reader=VolumeReader, kind="label")
        self.label_names = dict(label_names)

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Load; the keys then hold a MetaTensor (I, J, K) with the values of the task."""
        loaded: dict[Hashable, Any] = super().__call__(data, reader)
        for key in self.key_iterator(loaded):
            label = loaded[key]
            values = in_task_order(label.numpy().astype("int64"), label.meta["filename_or_obj"], self.label_names)
            loaded[key] = MetaTensor(torch.from_numpy(values).to(label.dtype), meta=label.meta)
        return loaded
