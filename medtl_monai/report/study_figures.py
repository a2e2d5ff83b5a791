"""Figures of a study as PNG bytes, 1200 px wide: learning curves over n, and differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy import optimize

from medtl_monai.errors import ConfigError
from medtl_monai.report.canvas import DPI, STYLE, WIDTH, plain, to_png
from medtl_monai.report.palette import INK, LINE_COLOURS, LINE_STYLES, MARKERS, MUTED, RULE

SPREAD = 0.035  # of a doubling: arms stand side by side, so that their intervals can be told apart
LABEL_GAP = 0.062  # of the height of the axes
BASELINE_COLOUR, OTHERS = LINE_COLOURS[-1], LINE_COLOURS[:-1]


@dataclass(frozen=True)
class CurvePoint:
    """Mean score at a number of labelled cases with its interval; NaN limits where there is none."""

    labelled: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One plot: the curve of the baseline, those of the arms, and single points of the baseline trained longer."""

    title: str
    baseline: tuple[str, Sequence[CurvePoint]]
    arms: Mapping[str, Sequence[CurvePoint]]
    longer: tuple[str, Sequence[CurvePoint]] = ("", ())


@dataclass(frozen=True)
class DifferenceBar:
    """A difference with its interval; ``shown`` if it stands after correction for several comparisons."""

    name: str
    labelled: int
    difference: float
    low: float
    high: float
    shown: bool


def curves_figure(panels: Sequence[Panel], *, ylabel: str, title: str = "") -> bytes:
    """PNG with one plot per panel, one above the other: mean over n (log2 axis), vertical lines for the intervals.

    Every curve is named at its right end. The baseline is dark grey in all panels. A limit that is NaN is not drawn.

    Raises:
        ConfigError: no panel, or no point in any of them.
    """
    levels = sorted({point.labelled for panel in panels for curve in _styled(panel) for point in curve.points})
    if not levels:
        raise ConfigError("cannot draw the curves", expected="at least one finished run", got="none")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 4.2 * len(panels)), dpi=DPI, layout="constrained")
        if title:
            figure.suptitle(title, x=0.01, ha="left", size=13, weight="bold", parse_math=False)
        limits = _limits(panels)
        for axes, panel in zip(np.ravel(figure.subplots(len(panels), 1, squeeze=False)), panels, strict=True):
            _draw_panel(axes, panel, levels, limits)
            axes.set_ylabel(plain(ylabel), parse_math=False)
        axes.set_xlabel("labelled training cases")
        return to_png(figure)


def _limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """Room for all means and intervals; where all means are in 0..1, not beyond it."""
    points = [point for panel in panels for curve in _styled(panel) for point in curve.points]
    means = [point.mean for point in points]
    ends = [end for point in points for end in (point.low, point.high) if math.isfinite(end)]
    low, high = min(means + ends), max(means + ends)
    if min(means) >= 0 and max(means) <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    pad = 0.05 * (high - low) or 0.05
    return low - pad, high + pad


def _draw_panel(axes: Axes, panel: Panel, levels: Sequence[int], limits: tuple[float, float]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xscale("log", base=2)
    axes.set_xlim(levels[0] * 2**-0.3, levels[-1] * 2**0.3)
    axes.set_xticks(levels, [str(n) for n in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(*limits)
    axes.grid(color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    if panel.title:
        axes.set_title(plain(panel.title), loc="left", parse_math=False)
    curves = _styled(panel)
    ends: list[tuple[str, str, float, float]] = []
    for index, curve in enumerate(curves):
        points = curve.points
        x = [point.labelled * 2 ** (SPREAD * (index - (len(curves) - 1) / 2)) for point in points]
        axes.plot(
            x,
            [point.mean for point in points],
            linestyle=curve.style or "none",
            color=curve.colour,
            marker=curve.marker,
            mfc=curve.face,
            mec=curve.colour,
            ms=6,
            lw=2.2,
            zorder=3,
        )
        lows, highs = [point.low for point in points], [point.high for point in points]
        axes.vlines(x, lows, highs, color=curve.colour, lw=1.6, alpha=0.75, zorder=2)
        ends.append((curve.name, curve.colour, x[-1], points[-1].mean))
    _name_ends(axes, ends, limits)


@dataclass(frozen=True)
class _Curve:
    name: str
    points: Sequence[CurvePoint]
    colour: str
    style: str
    marker: str
    face: str


def _styled(panel: Panel) -> list[_Curve]:
    """The curves that have points, with their looks: one colour per arm, other dashes when the colours run out."""
    curves = [_Curve(*panel.baseline, BASELINE_COLOUR, "-", "o", BASELINE_COLOUR)]
    for number, (name, points) in enumerate(panel.arms.items()):
        colour = OTHERS[number % len(OTHERS)]
        style = LINE_STYLES[number // len(OTHERS) % 4]
        curves.append(_Curve(name, points, colour, style, MARKERS[number % len(MARKERS)], colour))
    curves.append(_Curve(*panel.longer, BASELINE_COLOUR, "", "s", "white"))
    return [curve for curve in curves if curve.points]


def _name_ends(axes: Axes, ends: Sequence[tuple[str, str, float, float]], limits: tuple[float, float]) -> None:
    """Write each name right of the plot at the height of its last point, moved apart where they would touch."""
    height = limits[1] - limits[0]
    ordered = sorted(ends, key=lambda end: end[3])
    places = spread_apart([(end[3] - limits[0]) / height for end in ordered], LABEL_GAP)
    for (name, colour, x, y), place in zip(ordered, places, strict=True):
        axes.annotate(
            plain(name),
            xy=(x, y),
            xycoords="data",
            xytext=(1.02, place),
            textcoords="axes fraction",
            va="center",
            color=colour,
            weight="bold",
            annotation_clip=False,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.7,
                "alpha": 0.5,
                "shrinkA": 2,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places, moved so that neighbours are at least ``gap`` apart and, if they fit, all lie in 0..1."""
    steps = gap * np.arange(len(places))
    moved = optimize.isotonic_regression(np.asarray(places) - steps).x + steps  # least squares under the gaps
    for index in range(len(moved)):
        moved[index] = max(moved[index], 0.0 if index == 0 else moved[index - 1] + gap)
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], 1.0 if index == len(moved) - 1 else moved[index + 1] - gap)
    return [float(place) for place in moved]


def differences_figure(bars: Sequence[DifferenceBar], *, xlabel: str, better: str = "higher", title: str = "") -> bytes:
    """PNG with one line per comparison: point and interval of the difference, filled where it is shown; zero is marked.

    Raises:
        ConfigError: no comparison.
    """
    if not bars:
        raise ConfigError("cannot draw the differences", expected="at least one comparison", got="none")
    names = list(dict.fromkeys(bar.name for bar in bars))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.5 + 0.3 * len(bars)), dpi=DPI, layout="constrained")
        if title:
            figure.suptitle(title, x=0.01, ha="left", size=13, weight="bold", parse_math=False)
        axes = figure.add_subplot()
        axes.spines[["top", "right", "left"]].set_visible(False)
        for row, bar in enumerate(bars):
            colour = OTHERS[names.index(bar.name) % len(OTHERS)]
            axes.plot([bar.low, bar.high], [row, row], "-", color=colour, lw=2.2)
            face = colour if bar.shown else "white"
            axes.plot([bar.difference], [row], "o", color=colour, mfc=face, mew=1.8, ms=7.5)
        axes.axvline(0, color=INK, lw=1.2, zorder=1)
        axes.set_xlim(*_around_zero(bars))
        axes.set_yticks(range(len(bars)), [f"{bar.name}, n = {bar.labelled}" for bar in bars], parse_math=False)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=RULE, lw=0.8)
        axes.set_axisbelow(True)
        words = ("← scratch better", "transfer better →")
        left, right = words if better == "higher" else ("← transfer better", "scratch better →")
        axes.set_xlabel(plain(xlabel), parse_math=False)
        for text, place, align in ((left, 0.0, "left"), (right, 1.0, "right")):
            axes.text(place, 1.0, text, transform=axes.transAxes, ha=align, va="bottom", color=MUTED, size=10)
        return to_png(figure)


def _around_zero(bars: Sequence[DifferenceBar]) -> tuple[float, float]:
    """Room for all points and for intervals up to three times as far: two seeds give limits far out."""
    reach = 3 * max(abs(bar.difference) for bar in bars) or 1.0
    low = max(min(bar.low for bar in bars), -reach)
    high = min(max(bar.high for bar in bars), reach)
    pad = 0.06 * (max(high, 0) - min(low, 0)) or 0.1
    return min(low, 0) - pad, max(high, 0) + pad
