"""Truth and prediction over a scan in three planes, in radiological display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from medtl_monai.errors import GeometryError, LabelError
from medtl_monai.report.canvas import DPI, STYLE, WIDTH, plain, to_png, write_title
from medtl_monai.report.palette import MUTED, label_colour

Volume = npt.NDArray[Any]
# Name, array axis the plane is cut across, letters at the left, right, top and bottom edge.
PLANES = (("axial", 2, "RLAP"), ("coronal", 1, "RLSI"), ("sagittal", 0, "APSI"))
HEAD, FOOT, MARGIN, GAP = 0.72, 0.85, 0.30, 0.38  # inches
MAX_PANEL_HEIGHT = 4.2  # inches; keeps whole-body scans on one screen
FILL = 0.40
CONVENTION = "Radiological display: the patient's right (R) is on the left of the picture."


def overlay_figure(
    image: npt.ArrayLike,
    label: npt.ArrayLike | None,
    prediction: npt.ArrayLike,
    spacing: Sequence[float],
    *,
    title: str,
    label_names: Mapping[int, str] | None = None,
) -> bytes:
    """PNG with axial, coronal and sagittal planes: truth as contours above, prediction filled below.

    The planes go through the centre of mass of the truth (of the prediction if there is no truth or it is empty; of
    the volume if both are), moved to the nearest plane that holds foreground. All panels share one scale in mm.

    Args:
        image: (I, J, K), axes to the patient's right, anterior, superior.
        label: truth (I, J, K), 0 is background; None shows the bare image above.
        prediction: (I, J, K), 0 is background.
        spacing: three voxel sizes in mm.
        title: plain text.
        label_names: name per label value; None names them ``label 1``, ``label 2``, ...

    Raises:
        GeometryError: shapes differ or are not 3D, or a spacing is not positive.
        LabelError: a value in truth or prediction has no name or is not a positive whole number.
    """
    volume, predicted = np.asarray(image), np.asarray(prediction)
    truth = None if label is None else np.asarray(label)
    masks = [predicted] if truth is None else [truth, predicted]
    _check_geometry(volume, masks, spacing)
    names = _names(masks, label_names)
    with matplotlib.rc_context(STYLE):
        figure = _draw(volume, truth, predicted, np.asarray(spacing, dtype=float))
        write_title(figure, title)
        _explain(figure, names, truth is not None)
        return to_png(figure)


def plane(volume: Volume, axis: int, index: int) -> Volume:
    """One plane of a RAS volume as (rows, columns) for radiological display.

    Both in-plane axes are reversed: a row starts at the patient's right (in sagittal planes at the front), a column
    at the head (in axial planes at the front).
    """
    return np.take(volume, index, axis=axis)[::-1, ::-1].T


def centre_of(masks: Sequence[Volume], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Per axis, the slice with foreground nearest to the centre of mass of the first mask that is not empty."""
    for mask in masks:
        if mask.any():
            where = np.argwhere(mask)
            return tuple(int(w[np.argmin(np.abs(w - w.mean()))]) for w in where.T)
    return tuple(n // 2 for n in shape)


def _check_geometry(image: Volume, masks: list[Volume], spacing: Sequence[float]) -> None:
    if image.ndim != 3 or 0 in image.shape or any(mask.shape != image.shape for mask in masks):
        got = [image.shape, *(mask.shape for mask in masks)]
        raise GeometryError("cannot overlay", expected="image, truth and prediction of one 3D shape", got=got)
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise GeometryError("bad spacing", expected="three positive voxel sizes in mm", got=tuple(spacing))


def _names(masks: list[Volume], given: Mapping[int, str] | None) -> dict[int, str]:
    values = sorted({v for mask in masks for v in np.unique(mask).tolist()} - {0})
    bad = [v for v in values if v < 0 or v != int(v) or (given is not None and v not in given)]
    if bad:
        expected = "positive whole numbers" if given is None else f"values among {dict(given)}"
        raise LabelError("cannot name label values", expected=expected, got=bad, remedy="complete label_names")
    named = given if given is not None else {int(v): f"label {int(v)}" for v in values}
    return {int(value): name for value, name in sorted(named.items()) if value != 0}


def _draw(image: Volume, truth: Volume | None, predicted: Volume, spacing: npt.NDArray[np.float64]) -> Figure:
    size = np.array(image.shape) * spacing
    widths, heights = size[[0, 0, 1]], size[[1, 2, 2]]  # of the three planes, mm
    inch = min((WIDTH - 2 * MARGIN - 2 * GAP) / widths.sum(), MAX_PANEL_HEIGHT / heights.max())  # per mm
    centre = centre_of([predicted] if truth is None else [truth, predicted], image.shape)
    window = _window(image)
    total = HEAD + GAP + FOOT + 2 * heights.max() * inch
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)
    rows = (("Image" if truth is None else "Truth", truth, 0.0), ("Prediction", predicted, FILL))
    for row, (row_name, mask, fill) in enumerate(rows):
        left = (WIDTH - widths.sum() * inch - 2 * GAP) / 2
        top = HEAD + row * (heights.max() * inch + GAP)
        for (name, axis, letters), width, height in zip(PLANES, widths, heights, strict=True):
            bottom = 1 - (top + height * inch) / total
            axes = figure.add_axes((left / WIDTH, bottom, width * inch / WIDTH, height * inch / total))
            extent = (0.0, float(width), float(height), 0.0)
            axes.imshow(plane(image, axis, centre[axis]), cmap="gray", clim=window, extent=extent)
            if mask is not None:
                _draw_mask(axes, plane(mask, axis, centre[axis]), extent, fill)
            if fill and truth is not None:
                true = plane(truth, axis, centre[axis]) != 0
                _outline(axes, true, extent, "black", 1.2, "solid")  # under the dashes: seen on bright tissue too
                _outline(axes, true, extent, "white", 1.2, "dashed")
            _letter(axes, letters)
            axes.set_title(f"{row_name} · {name} · slice {centre[axis]}", pad=4)
            left += width * inch + GAP
        _scale_bar(figure, left - GAP, 1 - (top + heights[2] * inch) / total, inch, widths[2])
    return figure


def _window(image: Volume) -> tuple[float, float]:
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _draw_mask(axes: Axes, mask: Volume, extent: tuple[float, float, float, float], fill: float) -> None:
    """Outline every label, and fill it if ``fill`` (opacity) is above 0."""
    for value in np.unique(mask[mask != 0]).tolist():
        colour = label_colour(int(value))
        if fill > 0:
            shade = np.zeros((*mask.shape, 4))
            shade[mask == value] = to_rgba(colour, fill)
            axes.imshow(shade, extent=extent, interpolation="nearest")
        _outline(axes, mask == value, extent, colour, 1.8, "solid")


def _outline(
    axes: Axes, inside: Volume, extent: tuple[float, float, float, float], colour: str, width: float, style: str
) -> None:
    if not inside.any():
        return
    rows, columns = inside.shape
    x = (np.arange(-1, columns + 1) + 0.5) * extent[1] / columns
    y = (np.arange(-1, rows + 1) + 0.5) * extent[2] / rows
    padded = np.pad(inside, 1).astype(float)  # so that outlines close at the border of the image
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])


def _letter(axes: Axes, letters: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    places = [(0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center")]
    places += [(0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]
    box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
    for letter, (x, y, ha, va) in zip(letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color="white", weight="bold", size=10, ha=ha, va=va, bbox=box)


def _scale_bar(figure: Figure, right: float, bottom: float, inch: float, width: float) -> None:
    """A bar of a round length below the sagittal panel's right corner; positions in inches, ``bottom`` a fraction."""
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200) if n == 1 or n <= width / 3)
    height = figure.get_size_inches()[1]
    y = bottom - 0.10 / height
    ends = ((right - length * inch) / WIDTH, right / WIDTH)
    figure.add_artist(Line2D(ends, (y, y), color=MUTED, lw=3, solid_capstyle="butt"))
    figure.text(ends[0] - 0.08 / WIDTH, y, f"{length} mm", color=MUTED, size=9.5, ha="right", va="center")


def _explain(figure: Figure, names: dict[int, str], with_truth: bool) -> None:
    height = figure.get_size_inches()[1]
    handles = [
        Patch(facecolor=label_colour(v), edgecolor=label_colour(v), label=plain(name)) for v, name in names.items()
    ]
    if handles:
        corner = (0.3 / WIDTH, 0.34 / height)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=6, frameon=False, borderaxespad=0)
    rows = "Above: truth. Below: prediction, with the truth dashed." if with_truth else "No truth was given."
    figure.text(0.3 / WIDTH, 0.12 / height, f"{CONVENTION} {rows}", color=MUTED, size=9.5, va="bottom")
