"""Slices as a viewer shows them, whatever file and axes they come in."""

from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medtl_monai.errors import ConfigError, GeometryError, IntensityError
from medtl_monai.transforms.slices import DisplayedSliced, as_shown

SHAPE = (6, 5)
PLANES = {"axial": ("PLS", 2), "coronal": ("ILA", 1), "sagittal": ("IPR", 0)}  # rows, columns, normal; axis of RAS


def stored(shown: np.ndarray, axes: str, plane: str) -> MetaTensor:
    """A displayed slice as a file with the given axis codes stores it, by nibabel alone."""
    codes, _ = PLANES[plane]
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(codes), nib.orientations.axcodes2ornt(axes))
    array = nib.orientations.apply_orientation(shown[..., None], turn)
    directions = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    affine = np.zeros((4, 4))
    for column, code in enumerate(axes):
        affine[directions[code], column] = 1.0 if code in "RAS" else -1.0
    affine[3, 3] = 1
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array))[None], affine=torch.from_numpy(affine))


AXES = ["".join(word) for order in permutations(["RL", "AP", "SI"]) for word in product(*order)]


@pytest.mark.parametrize("plane", PLANES)
def test_all_48_orientations_are_shown_alike(plane: str) -> None:
    shown = np.arange(30, dtype=np.float32).reshape(SHAPE)
    assert len(AXES) == 48
    for axes in AXES:
        np.testing.assert_array_equal(as_shown(stored(shown, axes, plane))[0], shown, err_msg=axes)


def test_dicom_pixel_order_is_the_display_order() -> None:
    """DICOM PS3.3 C.7.6.2: with ImageOrientationPatient 1,0,0,0,1,0 columns run to left and rows to posterior."""
    pixels = np.arange(30, dtype=np.float32).reshape(SHAPE)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS axes of that orientation, in RAS
    image = MetaTensor(torch.from_numpy(pixels.T.copy())[None, ..., None], affine=torch.from_numpy(affine))
    np.testing.assert_array_equal(as_shown(image)[0], pixels)


def test_scans_are_windowed_and_pictures_scaled() -> None:
    hounsfield = np.array([[-1000.0, 0.0, 40.0], [60.0, 80.0, 3000.0]], dtype=np.float32)
    scan = stored(hounsfield, "LPS", "axial")
    scan.meta["case"] = "a"
    shown = DisplayedSliced("image", window="brain")({"image": scan})["image"]
    np.testing.assert_allclose(shown[0], [[0, 0, 0.5], [0.75, 1, 1]])  # centre 40, width 80
    assert shown.meta["case"] == "a"
    picture = MetaTensor(torch.tensor([[[0.0, 51.0, 255.0]]]), meta={"white": 255.0, "case": "b"})
    np.testing.assert_allclose(DisplayedSliced("image")({"image": picture})["image"][0], [[0, 0.2, 1]])


def test_a_volume_an_exported_scan_and_an_unknown_window_are_refused() -> None:
    affine = torch.eye(4, dtype=torch.float64)
    with pytest.raises(GeometryError, match="not one slice"):
        DisplayedSliced("image")({"image": MetaTensor(torch.randn(1, 4, 4, 4) * 900, affine=affine)})
    with pytest.raises(IntensityError, match="cannot be HU"):
        DisplayedSliced("image")({"image": MetaTensor(torch.arange(16.0).reshape(1, 4, 4, 1), affine=affine)})
    with pytest.raises(ConfigError, match="brain"):
        DisplayedSliced("image", window="brian")
