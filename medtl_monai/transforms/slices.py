"""Slices of any origin as a viewer shows them: the same axes, the same greys."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medtl_monai.errors import GeometryError, IntensityError
from medtl_monai.transforms.ct import Window, require_hu, several_windows, windows_as_channels
from medtl_monai.transforms.intensity import unit_by_percentiles
from medtl_monai.transforms.names import case_of

# Directions of (rows, columns, slices) in which viewers show a slice whose normal points so.
_SHOWN = {"S": "PLS", "A": "ILA", "R": "IPR"}
_KEPT = ("filename_or_obj", "case")


def as_shown(image: MetaTensor) -> torch.Tensor:
    """``(C, rows, columns)`` of one slice ``(C, I, J, K)`` with an affine in RAS+.

    Axial: rows run to posterior, columns to the patient's left; coronal: to inferior and left; sagittal: to inferior
    and posterior. An oblique slice is taken for the nearest of these.

    Raises:
        GeometryError: more than one slice, that is, no spatial axis of length 1.
    """
    shape = tuple(image.shape[1:])
    if len(shape) != 3 or 1 not in shape:
        raise GeometryError(
            "not one slice",
            case=case_of(image),
            expected="a slice: one spatial axis of length 1",
            got=f"spatial shape {shape}",
            remedy="give single slices, such as the DICOM files of a series one by one",
        )
    now = nib.orientations.io_orientation(np.asarray(image.affine, dtype=float))
    axis = len(shape) - 1 - shape[::-1].index(1)  # the last such axis, as files store a slice
    normal = "RAS"[int(now[axis, 0])]
    wanted = nib.orientations.axcodes2ornt(tuple(_SHOWN[normal]))
    turn = nib.orientations.ornt_transform(now, wanted)
    planes = [nib.orientations.apply_orientation(channel, turn) for channel in np.asarray(image)]
    return torch.from_numpy(np.ascontiguousarray(np.stack(planes)[..., 0]))


class DisplayedSliced(MapTransform):
    """Bring slices to ``(C, rows, columns)`` in [0, 1] as a viewer shows them, float32, with an identity affine.

    A scan (NIfTI, DICOM) knows its axes: it is turned by :func:`as_shown`; CT in HU gets one channel per window, other
    scans (no window) are scaled by their percentiles. A picture (PNG, JPEG; it is known by ``white`` in its meta data)
    has been turned and windowed by whoever exported it: it is divided by ``white``.

    Args:
        keys: items ``(1, I, J, 1)``, or ``(1, H, W)`` for pictures.
        window: name of the CT window for scans, or a list of names and ranges in HU, one per channel; None for scans
            that are no CT.

    Raises:
        ConfigError: no window has this name.
        GeometryError: in a call, a scan of several slices.
        IntensityError: in a call, a scan whose values cannot be HU, or a picture where several windows are wanted.
    """

    def __init__(self, keys: KeysCollection, window: str | Sequence[Window] | None = "brain") -> None:
        super().__init__(keys)
        self.windows = None if window is None else several_windows(window)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The items as displayed."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self._displayed(items[key])
        return items

    def _displayed(self, image: MetaTensor) -> MetaTensor:
        meta = {name: image.meta[name] for name in _KEPT if name in image.meta}
        if "white" in image.meta:
            grey = self._picture(image)
        else:
            grey = as_shown(MetaTensor(self._scaled(image), affine=image.affine, meta={**meta}))
        return MetaTensor(grey, affine=torch.eye(4, dtype=torch.float64), meta=meta)

    def _scaled(self, image: MetaTensor) -> torch.Tensor:
        return (
            unit_by_percentiles(image) if self.windows is None else windows_as_channels(require_hu(image), self.windows)
        )

    def _picture(self, image: MetaTensor) -> torch.Tensor:
        if self.windows is not None and len(self.windows) > 1:
            raise IntensityError(
                "a picture has no HU that could be seen through several windows",
                case=case_of(image),
                expected="a CT slice as NIfTI or DICOM",
                got="a picture",
                remedy="give the original slices, or one window",
            )
        return image.as_tensor().to(torch.float32) / float(image.meta["white"])
