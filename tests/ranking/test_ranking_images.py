"""The same voxels for every source, wherever its network wants the axes; bounded images."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from cohort import Knowing, write_segmentation
from PIL import Image

from medtl_monai.errors import DataError
from medtl_monai.networks.imagenet import build_imagenet_encoder
from medtl_monai.ranking.images import LONGEST_AXIS, NEAR, SIDE, prepared, read_image, sample_voxels, whole, window_of

LIA = np.array([[-1.0, 0, 0, 90], [0, 0, 1.5, -40], [0, -2.0, 0, 60], [0, 0, 0, 1]])


@pytest.mark.parametrize("axes", ["RAS", "SAR", "LPI"])
@pytest.mark.parametrize("affine", [np.eye(4), LIA], ids=["RAS", "LIA"])
def test_voxels_are_found_again_in_any_orientation(tmp_path: Path, affine: np.ndarray, axes: str) -> None:
    """Intensities that tell the label: read at the sampled voxels they must be the sampled labels."""
    write_segmentation(tmp_path, 1, affine)
    label_file, image_file = tmp_path / "labels" / "s00.nii.gz", tmp_path / "images" / "s00.nii.gz"
    values = np.asarray(nib.load(label_file).dataobj).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), image_file)
    encoder = Knowing()
    encoder.orientation = axes
    voxels = sample_voxels(str(label_file), "s00", seed=0)
    window, places = window_of(prepared(str(image_file), "s00", encoder), voxels)
    read = window[0].numpy()[tuple(places.T)]
    levels = np.unique(read)  # a z-score keeps the order of the values
    np.testing.assert_array_equal(np.searchsorted(levels, read), voxels.labels)


def test_a_large_volume_is_seen_through_a_window(tmp_path: Path) -> None:
    label = np.zeros((120, 90, 20), dtype=np.uint8)
    label[100:110, 80:88, 3:9] = 1
    image = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    for name, array in (("label", label), ("image", image)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    voxels = sample_voxels(str(tmp_path / "label.nii.gz"), "large", seed=0)
    window, places = window_of(prepared(str(tmp_path / "image.nii.gz"), "large", Knowing()), voxels)
    assert tuple(window.shape) == (1, LONGEST_AXIS, LONGEST_AXIS, 20)
    zscored = (image - image.mean()) / image.std()
    np.testing.assert_allclose(window[0].numpy()[tuple(places.T)], zscored[tuple(voxels.indices.T)], atol=1e-4)


def test_the_draw_is_balanced_near_the_border_and_repeatable(tmp_path: Path) -> None:
    write_segmentation(tmp_path, 2)
    path = str(tmp_path / "labels" / "s00.nii.gz")
    voxels, again, other = (sample_voxels(path, "s00", seed, 50) for seed in (0, 0, 1))
    label = np.asarray(nib.load(path).dataobj)
    np.testing.assert_array_equal(voxels.labels, label[tuple(voxels.indices.T)])
    assert np.bincount(voxels.labels).tolist() == [50, 50, 50]
    assert len(np.unique(voxels.indices, axis=0)) == 150
    np.testing.assert_array_equal(voxels.indices, again.indices)
    assert (voxels.indices != other.indices).any()
    foreground = np.argwhere(label > 0)
    distances = [np.linalg.norm(foreground - place, axis=1).min() for place in voxels.indices[voxels.labels == 0]]
    assert sum(distance <= NEAR for distance in distances) == 25


def test_an_empty_label_map_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((5, 5, 5), dtype=np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="case a: the label map has no foreground"):
        sample_voxels(str(tmp_path / "a.nii.gz"), "a", 0)


def test_a_picture_is_kept_whole_in_a_square(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (100, 1))
    Image.fromarray(grey).save(tmp_path / "a.png")
    encoder = build_imagenet_encoder("squeezenet1_0", in_channels=1, stem="fold")
    image = prepared(str(tmp_path / "a.png"), "a", encoder)
    square = whole(image)
    assert tuple(square.shape) == (1, SIDE, SIDE)
    assert float(image.min()) >= 0
    assert float(image.max()) <= 1
    rows = square[0, : round(SIDE / 3)]
    assert torch.allclose(rows.mean(), image.mean(), atol=0.01)  # nothing was cut off
    assert float(square[0, round(SIDE / 3) :].max()) == float(image.min())


def test_whole_volumes_stay_or_are_averaged_down() -> None:
    small, large = torch.rand(1, 28, 30, 20), torch.rand(1, 160, 80, 8)
    assert whole(small).equal(small)
    halved = whole(large)
    assert tuple(halved.shape) == (1, 80, 40, 4)
    assert torch.allclose(halved[0, 0, 0, 0], large[0, :2, :2, :2].mean())


def test_other_axes_and_absent_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(tmp_path / "flat.png")
    with pytest.raises(DataError, match=r"case flat: .*expected 1 channels, 3 axes"):
        prepared(str(tmp_path / "flat.png"), "flat", Knowing())
    with pytest.raises(DataError, match="case gone: no such image"):
        prepared(str(tmp_path / "gone.nii.gz"), "gone", Knowing())


def test_a_picture_in_colour_is_refused_or_taken_by_its_luminance(tmp_path: Path) -> None:
    pixels = np.zeros((40, 30, 3), np.uint8)
    pixels[:20, :, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "red.png")
    with pytest.raises(DataError, match="red"):
        read_image(str(tmp_path / "red.png"), "red")
    image = read_image(str(tmp_path / "red.png"), "red", "luminance")
    assert image.shape == (1, 40, 30)
    assert float(image.max()) == pytest.approx(0.299 * 200, abs=1)  # ITU-R BT.601
