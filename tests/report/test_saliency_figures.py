"""Saliency pictures: the heat lands where it is, in both layouts, and bad input is refused."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from scipy import ndimage

from medtl_monai.errors import GeometryError
from medtl_monai.report.saliency import hottest, slice_saliency_figure, volume_saliency_figure


def decode(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png), format="png")[..., :3]


def panels(pixels: np.ndarray) -> list[tuple[slice, slice]]:
    """Bounding boxes of the pictures (large dark areas), row by row from the left."""
    areas, _ = ndimage.label(pixels.min(axis=2) < 0.75)
    counts = np.bincount(areas.ravel())[1:]
    boxes = [box for box, n in zip(ndimage.find_objects(areas), counts, strict=True) if n > 9000]
    return sorted(boxes, key=lambda box: (round(box[0].start / 50), box[1].start))


def coloured(panel: np.ndarray) -> tuple[float, float]:
    """Middle of what is not grey, as shares of height and width; there has to be some."""
    rows, columns = np.nonzero(np.ptp(panel, axis=2) > 0.2)
    assert rows.size > 50
    return float(rows.mean() / panel.shape[0]), float(columns.mean() / panel.shape[1])


def test_heat_of_a_slice_lies_on_the_right_panel_where_it_was_planted() -> None:
    heat = np.zeros((40, 60))
    heat[30:36, 6:12] = 1.0  # low in the picture, on its left
    pixels = decode(slice_saliency_figure(np.zeros((40, 60)), heat, title="$a_1$", caption="b"))
    bare, hot = (pixels[box] for box in panels(pixels)[:2])
    assert np.ptp(bare, axis=2).max() < 0.2
    assert coloured(hot) == pytest.approx((33 / 40, 9 / 60), abs=0.02)
    rows, columns = hot.shape[:2]
    assert columns / rows == pytest.approx(60 / 40, rel=0.02)


def test_heat_on_the_right_front_top_lands_upper_left_in_every_plane() -> None:
    heat = np.zeros((20, 30, 12))
    heat[15:18, 24:27, 8:11] = 1.0
    pixels = decode(volume_saliency_figure(np.zeros(heat.shape), heat, (1.0, 1.0, 2.0), title="", caption=""))
    boxes = panels(pixels)
    assert len(boxes) == 6
    for box in boxes[3:]:
        down, across = coloured(pixels[box][3:-3, 3:-3])
        assert down < 0.4
        assert across < 0.4


def test_the_planes_go_through_the_hottest_voxel() -> None:
    heat = np.zeros((5, 6, 7))
    assert hottest(heat) == (2, 3, 3)
    heat[1, 5, 2] = 0.3
    heat[4, 0, 6] = 0.9
    assert hottest(heat) == (4, 0, 6)
    heat[:3, :3, :3] = 1.0  # a block: its middle
    assert hottest(heat) == (1, 1, 1)
    two = np.zeros((9, 3))
    two[0, 0] = two[8, 2] = 1.0  # the middle between two is no hottest voxel
    assert hottest(two) in ((0, 0), (8, 2))


def test_same_input_same_bytes() -> None:
    heat = np.random.default_rng(0).uniform(size=(8, 9))
    first, second = (slice_saliency_figure(heat, heat, title="a", caption="b") for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 5)), np.full((4, 4), 1.1), np.full((4, 4), -0.1), np.full((4, 4), np.nan)]
)
def test_bad_heat_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        slice_saliency_figure(np.zeros((4, 4)), bad, title="", caption="")
    with pytest.raises(GeometryError):
        volume_saliency_figure(np.zeros((4, 4, 2)), np.stack([bad, bad], axis=-1), (1, 1, 1), title="", caption="")


@pytest.mark.parametrize("spacing", [(1, 1), (1, 0, 1), (1, float("nan"), 1)])
def test_bad_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError, match="spacing"):
        volume_saliency_figure(np.zeros((4, 4, 2)), np.zeros((4, 4, 2)), spacing, title="", caption="")
