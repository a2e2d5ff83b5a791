"""Figures: where things land in the finished PNG, orientation, scale, colours, and refusals."""

from __future__ import annotations

import io
from itertools import pairwise

import matplotlib
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy import ndimage

from medtl_monai.errors import ConfigError, GeometryError, LabelError
from medtl_monai.report import overlay
from medtl_monai.report.canvas import plain
from medtl_monai.report.figures import DicePair, dice_dot_figure, learning_curve_figure, overlay_figure
from medtl_monai.report.palette import LABEL_COLOURS, LINE_COLOURS, LINE_STYLES, MARKERS, label_colour

NAMES = {0: "background", 1: "anterior", 2: "posterior"}
SHAPE = (20, 30, 12)


def decode(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png), format="png")[..., :3]


def panels(pixels: np.ndarray) -> list[tuple[slice, slice]]:
    """Bounding boxes of the pictures (large dark areas), row by row from the left."""
    areas, _ = ndimage.label(pixels.min(axis=2) < 0.75)
    boxes = [
        box for box, n in zip(ndimage.find_objects(areas), np.bincount(areas.ravel())[1:], strict=True) if n > 9000
    ]
    return sorted(boxes, key=lambda box: (round(box[0].start / 50), box[1].start))


def share_of(pixels: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(pixels - to_rgb(colour)).max(axis=2) < 0.06


def planted(corner: tuple[slice, slice, slice], value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[corner] = value
    return mask


# In the right, anterior, superior eighth (RAS axes: the upper half of every axis).
RIGHT_FRONT_TOP = (slice(14, 19), slice(20, 28), slice(7, 11))


def test_panels_have_the_extent_in_mm_and_one_scale() -> None:
    spacing = (1.0, 0.5, 3.0)
    pixels = decode(overlay_figure(np.zeros(SHAPE), None, planted(RIGHT_FRONT_TOP), spacing, title=""))
    assert pixels.shape[1] == 1200
    boxes = panels(pixels)
    assert len(boxes) == 6
    x, y, z = np.multiply(SHAPE, spacing)
    scales = []
    for box, (width, height) in zip(boxes, [(x, y), (x, z), (y, z)] * 2, strict=True):
        rows, columns = box[0].stop - box[0].start, box[1].stop - box[1].start
        scales += [rows / height, columns / width]
    np.testing.assert_allclose(scales, np.mean(scales), rtol=0.03)


def test_a_structure_on_the_right_front_top_lands_upper_left_in_every_panel() -> None:
    pixels = decode(overlay_figure(np.zeros(SHAPE), None, planted(RIGHT_FRONT_TOP), (1, 1, 2), title=""))
    for box in panels(pixels)[3:]:
        rows, columns = np.nonzero(share_of(pixels[box], label_colour(1)))
        assert rows.size > 50
        assert rows.max() < 0.5 * (box[0].stop - box[0].start)
        assert columns.max() < 0.5 * (box[1].stop - box[1].start)


def test_letters_agree_with_nibabel() -> None:
    opposite = dict(zip("RLAPSI", "LRPAIS", strict=True))
    codes = nib.aff2axcodes(np.eye(4))
    figure = overlay._draw(np.zeros(SHAPE), None, planted(RIGHT_FRONT_TOP), np.ones(3))
    for axes, (name, axis, _) in zip(figure.axes, overlay.PLANES * 2, strict=True):
        across, down = (code for n, code in enumerate(codes) if n != axis)
        # Both axes are reversed, so that the first pixel is at the far end: the letter of the axis itself.
        assert [text.get_text() for text in axes.texts] == [across, opposite[across], down, opposite[down]]
        assert name in axes.get_title()


def test_plane_puts_the_far_corner_first() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    for axis in range(3):
        cut = overlay.plane(volume, axis, volume.shape[axis] - 1)
        assert cut[0, 0] == volume[-1, -1, -1]
    assert overlay.plane(volume, 2, 0).shape == (3, 2)
    assert overlay.plane(volume, 2, 0)[0, 1] == volume[0, 2, 0]


def test_truth_is_outlined_above_and_prediction_filled_below() -> None:
    truth = planted((slice(4, 16), slice(4, 14), slice(3, 9))) + planted((slice(4, 16), slice(14, 26), slice(3, 9)), 2)
    pixels = decode(overlay_figure(np.zeros(SHAPE), truth, truth, (1, 1, 1), title="t", label_names=NAMES))
    middle = panels(pixels)[3][0].start - 40
    for value in (1, 2):
        assert share_of(pixels[:middle], label_colour(value)).sum() > 300
    blend = 0.40 * np.array(to_rgb(label_colour(1)))  # over black
    filled = np.abs(pixels - blend).max(axis=2) < 0.02
    assert filled[middle:].sum() > 5000
    assert filled[:middle].sum() < 100


def test_legend_names_only_foreground_labels() -> None:
    assert overlay._names([planted(RIGHT_FRONT_TOP)], NAMES) == {1: "anterior", 2: "posterior"}
    assert overlay._names([planted(RIGHT_FRONT_TOP, 3)], None) == {3: "label 3"}


def test_planes_go_through_foreground_even_if_the_centre_does_not() -> None:
    halves = planted((slice(2, 5), slice(5, 9), slice(1, 3))) + planted((slice(16, 19), slice(5, 9), slice(1, 3)))
    i, j, k = overlay.centre_of([halves], SHAPE)
    assert i in (4, 16)  # the mean, 10, lies in the gap
    assert halves[i].any()
    assert halves[:, j].any()
    assert halves[..., k].any()
    empty = np.zeros(SHAPE)
    assert overlay.centre_of([empty, halves], SHAPE) == (i, j, k)
    assert overlay.centre_of([empty, empty], SHAPE) == (10, 15, 6)


def test_overlay_survives_missing_values_and_empty_masks() -> None:
    image = np.full(SHAPE, np.nan)
    empty = np.zeros(SHAPE, np.uint8)
    assert overlay_figure(image, empty, empty, (1, 1, 1), title="$x_1$ <b>").startswith(b"\x89PNG")


def test_same_input_same_bytes() -> None:
    image = np.random.default_rng(0).normal(size=SHAPE)
    one, two = (overlay_figure(image, None, planted(RIGHT_FRONT_TOP), (1, 1, 1), title="a") for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("label_shape", "spacing"),
    [((20, 30, 11), (1, 1, 1)), (SHAPE, (1, 0, 1)), (SHAPE, (1, 1)), (SHAPE, (1, 1, np.nan))],
)
def test_bad_geometry_is_refused(label_shape: tuple[int, int, int], spacing: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError):
        overlay_figure(np.zeros(SHAPE), np.zeros(label_shape), np.zeros(SHAPE), spacing, title="")


@pytest.mark.parametrize("value", [3, -1, 0.5])
def test_label_values_without_a_name_are_refused(value: float) -> None:
    mask = np.zeros(SHAPE)
    mask[2, 2, 2] = value
    with pytest.raises(LabelError, match=str(value)):
        overlay_figure(np.zeros(SHAPE), mask, np.zeros(SHAPE), (1, 1, 1), title="", label_names=NAMES)


def test_learning_curves_show_every_colour_and_sort_their_points() -> None:
    curves = {"transfer": [(0, 0.1), (10, 0.8)], "_scratch": [(0, 0.0), (10, 0.6)]}
    png = learning_curve_figure(curves, ylabel="Dice", title="cost $5")
    pixels = decode(png)
    assert pixels.shape[1] == 1200
    for colour in LINE_COLOURS[:2]:
        assert share_of(pixels, colour).sum() > 500
    backwards = {name: points[::-1] for name, points in curves.items()}
    assert learning_curve_figure(backwards, ylabel="Dice", title="cost $5") == png


def test_bad_curves_are_all_named() -> None:
    with pytest.raises(ConfigError, match=r"'b', 'c'"):
        learning_curve_figure({"a": [(0, 1.0)], "b": [], "c": [(0, float("nan"))]}, ylabel="loss")
    for curves in ({}, {str(n): [(0, 1.0)] for n in range(7)}):
        with pytest.raises(ConfigError, match="1 to 6"):
            learning_curve_figure(curves, ylabel="loss")


def test_dots_grow_with_the_cases_and_lie_at_their_value() -> None:
    rows = [DicePair(f"case_{n}", 0.9, 0.5) for n in range(4)]
    short, long = decode(dice_dot_figure(rows)), decode(dice_dot_figure(rows * 3))
    assert short.shape[1] == long.shape[1] == 1200
    assert long.shape[0] > short.shape[0]
    # All 12 cases are alike: columns of the two colours, below the legend, stand at 0.9 and 0.5 of 0..1.02.
    body = long[90:-60]
    blue, red = (np.nonzero(share_of(body, colour))[1].mean() for colour in LINE_COLOURS[:2])
    axis = int(np.nonzero((np.abs(body - np.array(to_rgb("#5b6472"))).max(axis=2) < 0.06).mean(axis=0) > 0.8)[0].min())
    assert (red - axis) / (blue - axis) == pytest.approx(0.5 / 0.9, abs=0.01)


def test_bad_dice_are_all_named() -> None:
    rows = [DicePair("fine", 0.5, 0.5), DicePair("high", 1.2, 0.5), DicePair("nan", 0.5, float("nan"))]
    with pytest.raises(ConfigError, match=r"'high', 'nan'"):
        dice_dot_figure(rows)
    with pytest.raises(ConfigError, match="none"):
        dice_dot_figure([])


def test_legend_text_is_taken_literally() -> None:
    assert plain("a$b") == r"a\$b"
    assert not plain("_hidden").startswith("_")


def test_figures_leave_the_settings_of_matplotlib_alone() -> None:
    before = dict(matplotlib.rcParams)
    dice_dot_figure([DicePair("a", 0.5, 0.6)])
    assert dict(matplotlib.rcParams) == before


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_line_colours_stand_out_from_paper_and_label_colours_from_dark_tissue() -> None:
    assert all(1.05 / (luminance(colour) + 0.05) >= 3 for colour in LINE_COLOURS)
    assert all((luminance(colour) + 0.05) / 0.05 >= 3 for colour in LABEL_COLOURS)
    assert len(LINE_STYLES) == len(MARKERS) == len(LINE_COLOURS)


def test_neighbouring_colours_differ_without_red_green_vision() -> None:
    # Deuteranopia, Machado et al., IEEE TVCG 15(6), 2009.
    simulate = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    )
    for colours in (LABEL_COLOURS, LINE_COLOURS):
        seen = [simulate @ to_rgb(colour) for colour in colours]
        assert all(np.linalg.norm(a - b) > 0.2 for a, b in pairwise(seen))
