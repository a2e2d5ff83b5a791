"""The common ground of all figures: size, type, colours of axes, and PNG bytes without pyplot or a display."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medtl_monai.report.palette import INK, MUTED

DPI = 130
WIDTH = 1200 / DPI  # inches
STYLE: Any = {  # Any: the key type of rc_context differs between matplotlib versions
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}


def plain(text: str) -> str:
    """Text for a legend that matplotlib neither hides (leading underscore) nor typesets (dollar signs)."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def write_title(figure: Figure, title: str) -> None:
    """Write the title at the upper left; a dollar sign in it stays a dollar sign."""
    height = figure.get_size_inches()[1]
    figure.text(0.3 / WIDTH, 1 - 0.14 / height, title, size=13, weight="bold", va="top", parse_math=False)


def plot_figure(height: float, title: str) -> tuple[Figure, Axes]:
    """An empty plot, 1200 px wide and ``height`` inches high, with room for a title and a legend above."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", size=13, weight="bold", parse_math=False)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def to_png(figure: Figure) -> bytes:
    """PNG bytes of the figure; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
