"""The corner-to-corner nearest zoom against scipy's, its affine, and its inverse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Resize
from scipy.ndimage import zoom

from medtl_monai.errors import ConfigError
from medtl_monai.transforms.zoom import ZoomNearestd, nearest_indices, zoom_nearest


def scipy_zoom(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zoom(array, [wanted / length for wanted, length in zip(size, array.shape, strict=True)], order=0)


def test_voxels_are_scipys() -> None:
    """Lengths 2..70 to 18 sizes: the same voxel everywhere, but for the zeros of scipy's rounding at the very end."""
    different = 0
    for length in range(2, 71):
        array = np.arange(1, length + 1, dtype=np.float64)
        for wanted in (1, 2, 3, 5, 7, 9, 16, 17, 28, 31, 56, 63, 64, 99, 100, 101, 299, 448):
            theirs = scipy_zoom(array, (wanted,))
            same = array[nearest_indices(length, wanted)] == theirs
            assert same[:-1].all(), (length, wanted)
            assert same[-1] or theirs[-1] == 0, (length, wanted)
            different += not same[-1]
    assert 0 < different < 50


def test_three_axes_at_once() -> None:
    image = np.random.default_rng(0).normal(size=(7, 30, 21))
    ours = zoom_nearest(torch.from_numpy(image)[None], (12, 16, 40))[0].numpy()
    assert np.array_equal(ours, scipy_zoom(image, (12, 16, 40)))


def test_monais_nearest_picks_other_voxels() -> None:
    image = torch.arange(5.0).reshape(1, 5, 1, 1)
    ours = zoom_nearest(image, (9, 1, 1)).flatten().tolist()
    assert ours == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    for mode in ("nearest", "nearest-exact"):
        assert Resize((9, 1, 1), mode=mode)(image).flatten().tolist() != ours


def test_corners_stay_where_they_are_in_space() -> None:
    affine = torch.tensor([[0.0, 2, 0, 10], [-1, 0, 0, 20], [0, 0, 3, -5], [0, 0, 0, 1]], dtype=torch.float64)
    image = MetaTensor(torch.rand(1, 5, 9, 4), affine=affine)
    out = ZoomNearestd("image", (9, 3, 7))({"image": image})["image"]
    for old, new in (([0, 0, 0, 1], [0, 0, 0, 1]), ([4, 8, 3, 1], [8, 2, 6, 1]), ([4, 0, 3, 1], [8, 0, 6, 1])):
        before, after = affine.numpy() @ np.array(old), out.affine.numpy() @ np.array(new)
        assert np.allclose(before, after)
    assert np.allclose(image.affine, affine)
    assert image.applied_operations == []


def test_single_slices_keep_a_usable_affine() -> None:
    for before, after in (((1, 5, 5), (4, 5, 5)), ((4, 5, 5), (1, 5, 5)), ((1, 5, 5), (1, 9, 9))):
        out = ZoomNearestd("image", after)({"image": MetaTensor(torch.rand(1, *before))})["image"]
        assert tuple(out.shape) == (1, *after)
        assert abs(np.linalg.det(out.affine.numpy())) > 0.1


def test_a_label_made_larger_comes_back_voxel_for_voxel() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        size = tuple(rng.integers(1, 12, 3).tolist())
        wanted = tuple(int(length + rng.integers(0, 30)) for length in size)
        label = MetaTensor(torch.from_numpy(rng.integers(0, 5, (1, *size))))
        transform = ZoomNearestd("label", wanted)
        back = transform.inverse(transform({"label": label}))["label"]
        assert torch.equal(back.as_tensor(), label.as_tensor())
        assert np.allclose(back.affine, label.affine)
        assert back.applied_operations == []


def test_plain_tensors_and_wrong_sizes() -> None:
    assert tuple(ZoomNearestd("image", (2, 2))({"image": torch.rand(3, 5, 5)})["image"].shape) == (3, 2, 2)
    with pytest.raises(ConfigError, match=r"expected at least 1 voxel along every axis, got \(4, 0, 4\)"):
        ZoomNearestd("image", (4, 0, 4))
    with pytest.raises(ConfigError, match=r"expected 3 axes, got \(5, 5\)"):
        ZoomNearestd("image", (4, 4, 4))({"image": torch.rand(1, 5, 5)})
