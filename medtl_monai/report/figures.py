"""Figures of a report as PNG bytes, 1200 px wide: overlays on a scan, learning curves, Dice per case.

Drawn with matplotlib's Agg canvas and without pyplot: no display is needed and no global state is changed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from medtl_monai.errors import ConfigError, GeometryError, LabelError
from medtl_monai.report.palette import INK, LINE_COLOURS, LINE_STYLES, MARKERS, MUTED, RULE, label_colour

DPI = 130
WIDTH = 1200 / DPI  # inches
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}
# (name, array axis the plane is cut across, letters at left, right, top, bottom) with all in-plane axes reversed.
PLANES = (("axial", 2, "RLAP"), ("coronal", 1, "RLSI"), ("sagittal", 0, "APSI"))
MAX_ROW_HEIGHT = 4.4  # inches; keeps whole-body scans on one screen


@dataclass(frozen=True)
class DicePair:
    """Dice (0..1) of one case with transfer and with training from scratch."""

    case: str
    transfer: float
    scratch: float


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
    the volume if both are), moved to the nearest plane that holds foreground. Display is radiological.

    Args:
        image: (I, J, K), axes to the patient's right, anterior, superior.
        label: truth (I, J, K), 0 is background; None shows the bare image above.
        prediction: (I, J, K), 0 is background.
        spacing: three voxel sizes in mm.
        label_names: name per label value; None names them ``label 1``, ``label 2``, ...

    Raises:
        GeometryError: shapes differ, are not 3D, or a spacing is not positive.
        LabelError: a value in truth or prediction has no name.
    """
    volume, predicted = np.asarray(image), np.asarray(prediction)
    truth = None if label is None else np.asarray(label)
    _check_geometry(volume, [predicted] if truth is None else [predicted, truth], spacing)
    names = _names(truth, predicted, label_names)
    with matplotlib.rc_context(STYLE):
        return _png(_draw_overlay(volume, truth, predicted, tuple(float(s) for s in spacing), title, names))


def learning_curve_figure(
    curves: Mapping[str, Sequence[tuple[int, float]]], *, ylabel: str, xlabel: str = "epoch", title: str = ""
) -> bytes:
    """PNG with one line per name through its (x, value) points; the value axis is 0..1 if all values lie there.

    Raises:
        ConfigError: no curve, more than six, a curve without points, or a value that is not finite.
    """
    if not 1 <= len(curves) <= len(LINE_COLOURS):
        raise ConfigError("cannot draw the curves", expected=f"1 to {len(LINE_COLOURS)} curves", got=len(curves))
    bad = [name for name, points in curves.items() if not len(points) or not np.isfinite(points).all()]
    if bad:
        raise ConfigError("cannot draw the curves", expected="finite points in every curve", got=f"none in {bad}")
    with matplotlib.rc_context(STYLE):
        figure, axes = _plot_figure(4.6, title)
        for index, (name, points) in enumerate(curves.items()):
            x, y = np.asarray(sorted(points), dtype=float).T
            axes.plot(
                x, y, LINE_STYLES[index], color=LINE_COLOURS[index], marker=MARKERS[index], markersize=5, lw=2, label=name
            )
        values = np.concatenate([[value for _, value in points] for points in curves.values()])
        if values.min() >= 0 and values.max() <= 1:
            axes.set_ylim(0, 1.02)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(axis="y", color=RULE, lw=0.8)
        _legend_above(axes, len(curves))
        return _png(figure)


def dice_dot_figure(rows: Sequence[DicePair], *, title: str = "") -> bytes:
    """PNG with one line per case, best transfer on top: filled dot transfer, open diamond scratch, means dashed.

    Raises:
        ConfigError: no rows, or values outside 0..1 (all such cases are named).
    """
    bad = [row.case for row in rows if not (0 <= row.transfer <= 1 and 0 <= row.scratch <= 1)]
    if bad or not rows:
        raise ConfigError("cannot draw Dice per case", expected="Dice in 0..1 for at least one case", got=bad or "none")
    ordered = sorted(rows, key=lambda row: row.transfer)
    with matplotlib.rc_context(STYLE):
        figure, axes = _plot_figure(1.7 + 0.27 * len(ordered), title)
        height = np.arange(len(ordered))
        transfer = np.array([row.transfer for row in ordered])
        scratch = np.array([row.scratch for row in ordered])
        axes.hlines(height, np.minimum(transfer, scratch), np.maximum(transfer, scratch), color=RULE, lw=3, zorder=1)
        for values, name, index, face in ((transfer, "transfer", 0, LINE_COLOURS[0]), (scratch, "scratch", 1, "white")):
            colour = LINE_COLOURS[index]
            mean = f"{name} (mean {values.mean():.3f})"
            axes.plot(values, height, MARKERS[index], color=colour, mfc=face, mew=1.8, ms=7, label=mean, zorder=3)
            axes.axvline(values.mean(), color=colour, ls=LINE_STYLES[1], lw=1.2, zorder=2)
        axes.set_yticks(height, [_shorten(row.case) for row in ordered])
        axes.set_ylim(-0.7, len(ordered) - 0.3)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"Dice; transfer is better in {int((transfer > scratch).sum())} of {len(ordered)} cases")
        axes.grid(axis="x", color=RULE, lw=0.8)
        axes.tick_params(axis="y", length=0)
        _legend_above(axes, 2)
        return _png(figure)


def _check_geometry(image: npt.NDArray[Any], masks: list[npt.NDArray[Any]], spacing: Sequence[float]) -> None:
    if image.ndim != 3 or any(mask.shape != image.shape for mask in masks):
        got = [image.shape, *(mask.shape for mask in masks)]
        raise GeometryError("cannot overlay", expected="image, prediction and truth of one 3D shape", got=got)
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise GeometryError("bad spacing", expected="three positive voxel sizes in mm", got=tuple(spacing))


def _names(truth: npt.NDArray[Any] | None, predicted: npt.NDArray[Any], given: Mapping[int, str] | None) -> dict[int, str]:
    masks = [predicted] if truth is None else [predicted, truth]
    values = sorted({float(v) for mask in masks for v in np.unique(mask)} - {0.0})
    if given is None:
        given = {int(v): f"label {int(v)}" for v in values if v > 0 and v == int(v)}
    unknown = [v for v in values if v not in given]
    if unknown:
        raise LabelError("label values without a name", expected=dict(given), got=unknown, remedy="name them")
    return {int(value): name for value, name in given.items() if value != 0}


def _centre(masks: Sequence[npt.NDArray[Any] | None], shape: tuple[int, ...]) -> list[int]:
    for mask in masks:
        if mask is not None and mask.any():
            where = np.argwhere(mask)
            middle = where.mean(axis=0)
            return [int(w[np.argmin(np.abs(w - m))]) for w, m in zip(where.T, middle, strict=True)]
    return [n // 2 for n in shape]


def plane(volume: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """One plane of a RAS volume as (rows, columns) for radiological display.

    Both in-plane axes are reversed: the patient's right (or, in sagittal planes, the front) comes first in a row, the
    front (or, in coronal and sagittal planes, the head) comes first in a column.
    """
    return np.take(volume, index, axis=axis)[::-1, ::-1].T


def _draw_overlay(
    image: npt.NDArray[Any],
    truth: npt.NDArray[Any] | None,
    predicted: npt.NDArray[Any],
    spacing: tuple[float, ...],
    title: str,
    names: dict[int, str],
) -> Figure:
    size = np.array(image.shape) * spacing
    across, down = size[[0, 0, 1]], float(max(size[1], size[2]))
    gap, margin, head, foot = 0.42, 0.30, 0.95, 0.75
    scale = min((WIDTH - 2 * margin - 2 * gap) / across.sum(), MAX_ROW_HEIGHT / down)  # inches per mm, all panels alike
    height = head + foot + gap + 2 * down * scale
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    centre = _centre([truth, predicted], image.shape)
    low, high = np.percentile(image[np.isfinite(image)], (0.5, 99.5)) if np.isfinite(image).any() else (0, 1)
    left0 = (WIDTH - across.sum() * scale - 2 * gap) / 2
    rows = (("Image" if truth is None else "Truth", truth, 0.0), ("Prediction", predicted, 0.38))
    for row, (row_name, mask, fill) in enumerate(rows):
        left = left0
        for column, (name, axis, letters) in enumerate(PLANES):
            grid = plane(image, axis, centre[axis])
            extent = (0.0, float(across[column]), float(size[1] if axis == 2 else size[2]), 0.0)
            top = head + row * (down * scale + gap) + (down - extent[2]) * scale / 2
            box = (left / WIDTH, 1 - (top + extent[2] * scale) / height, extent[1] * scale / WIDTH, extent[2] * scale / height)
            axes = figure.add_axes(box)
            axes.imshow(grid, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent, interpolation="nearest")
            if mask is not None:
                _draw_mask(axes, plane(mask, axis, centre[axis]), extent, fill)
            _decorate(axes, letters, extent)
            axes.set_title(f"{row_name}, {name} (slice {centre[axis]})", pad=4)
            left += across[column] * scale + gap
    return figure
