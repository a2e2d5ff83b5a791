"""Where a classifier looks: a slice beside itself under a heat map, a volume in planes through the hottest voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtl_monai.errors import GeometryError
from medtl_monai.report.canvas import DPI, STYLE, WIDTH, to_png, write_title
from medtl_monai.report.overlay import CONVENTION, PLANES, plane
from medtl_monai.report.palette import MUTED

Array = npt.NDArray[Any]
COLOURS = "inferno"  # even in lightness: readable in print and by colour-blind readers
OPACITY = 0.65  # of the largest heat; none where there is no heat, so that the image stays to be seen
HEAD, FOOT, MARGIN, GAP = 0.98, 0.74, 0.30, 0.38  # inches
MAX_PANEL_HEIGHT = 4.4  # inches
MEANING = "1 (largest in this image): where the features speak for the class; no outline of a finding."


def slice_saliency_figure(image: npt.ArrayLike, heat: npt.ArrayLike, *, title: str, caption: str) -> bytes:
    """PNG with a slice on the left, and on the right the same slice under its heat.

    Args:
        image: (rows, columns), as displayed; grey from its 0.5th to its 99.5th percentile.
        heat: (rows, columns) in [0, 1].
        title: plain text.
        caption: plain text below it, such as the class and its probability.

    Raises:
        GeometryError: the shapes differ or are not 2D, or heat is outside [0, 1].
    """
    shown, hot = _checked(image, heat, 2)
    panels = [(f"Image{'' if n == 0 else ' and heat'}", shown, hot if n else None, "") for n in (0, 1)]
    rows, columns = shown.shape
    return _figure([panels], [(float(columns), float(rows))] * 2, _window(shown), title, caption, "")


def volume_saliency_figure(
    image: npt.ArrayLike, heat: npt.ArrayLike, spacing: Sequence[float], *, title: str, caption: str
) -> bytes:
    """PNG with axial, coronal and sagittal planes through the hottest voxel: the image above, with its heat below.

    The planes go through the voxel that :func:`hottest` names.

    Args:
        image: (I, J, K), axes to the patient's right, anterior, superior.
        heat: (I, J, K) in [0, 1].
        spacing: three voxel sizes in mm.
        title: plain text.
        caption: plain text below it.

    Raises:
        GeometryError: the shapes differ or are not 3D, heat is outside [0, 1], or a spacing is not positive.
    """
    shown, hot = _checked(image, heat, 3)
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise GeometryError("bad spacing", expected="three positive voxel sizes in mm", got=tuple(spacing))
    centre = hottest(hot)
    size = np.array(shown.shape) * np.asarray(spacing, dtype=float)
    sizes = [(float(size[across]), float(size[up])) for across, up in ((0, 1), (0, 2), (1, 2))]
    rows = []
    for name in ("Image", "Heat"):
        row = []
        for word, axis, letters in PLANES:
            over = plane(hot, axis, centre[axis]) if name == "Heat" else None
            row.append((f"{name} · {word} · slice {centre[axis]}", plane(shown, axis, centre[axis]), over, letters))
        rows.append(row)
    return _figure(rows, sizes, _window(shown), title, caption, CONVENTION)


def hottest(heat: Array) -> tuple[int, ...]:
    """Index of the largest value, of several such voxels the one nearest to their middle; the centre if all are 0.

    A coarse map that was stretched has its largest value in a whole block at the border, not at one voxel.
    """
    if not heat.any():
        return tuple(length // 2 for length in heat.shape)
    where = np.argwhere(heat >= heat.max() * (1 - 1e-6))
    nearest = np.square(where - where.mean(axis=0)).sum(axis=1).argmin()
    return tuple(int(index) for index in where[nearest])


def _checked(image: npt.ArrayLike, heat: npt.ArrayLike, dimensions: int) -> tuple[Array, Array]:
    shown, hot = np.asarray(image), np.asarray(heat)
    if shown.ndim != dimensions or 0 in shown.shape or hot.shape != shown.shape:
        expected = f"image and heat of one {dimensions}D shape"
        raise GeometryError("cannot draw the heat", expected=expected, got=[shown.shape, hot.shape])
    if not (hot.min() >= 0 and hot.max() <= 1):  # also where there is NaN
        raise GeometryError("cannot draw the heat", expected="heat in [0, 1]", got=[float(hot.min()), float(hot.max())])
    return shown, hot


def _window(image: Array) -> tuple[float, float]:
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))


def _figure(
    rows: Sequence[Sequence[tuple[str, Array, Array | None, str]]],
    sizes: Sequence[tuple[float, float]],
    window: tuple[float, float],
    title: str,
    caption: str,
    note: str,
) -> bytes:
    """Rows of panels (name, image, heat or None, letters at the edges), one scale for all; `sizes` is per column."""
    widths, heights = (sum(size[0] for size in sizes), max(size[1] for size in sizes))
    inch = min((WIDTH - 2 * MARGIN - (len(sizes) - 1) * GAP) / widths, MAX_PANEL_HEIGHT / heights)
    total = HEAD + (FOOT if note else FOOT - 0.28) + len(rows) * heights * inch + (len(rows) - 1) * GAP
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, total), dpi=DPI)
        for number, row in enumerate(rows):
            left = (WIDTH - widths * inch - (len(sizes) - 1) * GAP) / 2
            top = HEAD + number * (heights * inch + GAP)
            for panel, (width, height) in zip(row, sizes, strict=True):
                bottom = 1 - (top + height * inch) / total
                axes = figure.add_axes((left / WIDTH, bottom, width * inch / WIDTH, height * inch / total))
                _panel(axes, panel, (0.0, width, height, 0.0), window)
                left += width * inch + GAP
        write_title(figure, title)
        figure.text(0.3 / WIDTH, 1 - 0.42 / total, caption, size=11, va="top", parse_math=False)
        _colour_bar(figure, total, 0.42 if note else 0.14)
        figure.text(0.3 / WIDTH, 0.12 / total, note, color=MUTED, size=9.5, va="bottom", parse_math=False)
        return to_png(figure)


def _panel(
    axes: Axes,
    panel: tuple[str, Array, Array | None, str],
    extent: tuple[float, float, float, float],
    window: tuple[float, float],
) -> None:
    name, image, heat, letters = panel
    axes.imshow(image, cmap="gray", clim=window, extent=extent)
    if heat is not None:
        axes.imshow(heat, cmap=COLOURS, clim=(0.0, 1.0), alpha=OPACITY * heat.astype(float), extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(name, pad=4)
    places = [(0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center")]
    places += [(0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")]
    box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
    for letter, (x, y, ha, va) in zip(letters, places, strict=False):  # slices as displayed have no letters
        axes.text(x, y, letter, transform=axes.transAxes, color="white", weight="bold", size=10, ha=ha, va=va, bbox=box)


def _colour_bar(figure: Figure, total: float, bottom: float) -> None:
    """Heat from 0 to 1 at the lower left, so many inches above the edge."""
    y, height = bottom / total, 0.13 / total
    axes = figure.add_axes((0.55 / WIDTH, y, 1.6 / WIDTH, height))
    axes.imshow(np.linspace(0, 1, 128)[None], cmap=COLOURS, aspect="auto")
    axes.set_axis_off()
    figure.text(0.45 / WIDTH, y + height / 2, "0", color=MUTED, size=9.5, ha="right", va="center")
    figure.text(2.25 / WIDTH, y + height / 2, MEANING, color=MUTED, size=9.5, ha="left", va="center")
