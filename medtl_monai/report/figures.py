"""Figures of a report as PNG bytes, 1200 px wide: overlays on a scan, learning curves, Dice per case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medtl_monai.errors import ConfigError
from medtl_monai.report.canvas import STYLE, plain, plot_figure, to_png
from medtl_monai.report.overlay import overlay_figure
from medtl_monai.report.palette import LINE_COLOURS, LINE_STYLES, MARKERS, RULE

__all__ = ["DicePair", "dice_dot_figure", "learning_curve_figure", "overlay_figure"]

LONGEST_CASE_NAME = 28  # characters; longer ones lose their middle
MANY_POINTS = 25  # above this, markers hide the line


@dataclass(frozen=True)
class DicePair:
    """Dice (0..1) of one case after transfer and after training from scratch."""

    case: str
    transfer: float
    scratch: float


def learning_curve_figure(
    curves: Mapping[str, Sequence[tuple[int, float]]], *, ylabel: str, xlabel: str = "epoch", title: str = ""
) -> bytes:
    """PNG with one line per name through its (x, value) points; the value axis is 0..1 if all values lie there.

    Raises:
        ConfigError: no curve, more than six, or curves (all are named) without points or with values not finite.
    """
    if not 1 <= len(curves) <= len(LINE_COLOURS):
        raise ConfigError("cannot draw the curves", expected=f"1 to {len(LINE_COLOURS)} curves", got=len(curves))
    bad = [name for name, points in curves.items() if len(points) == 0 or not np.isfinite(points).all()]
    if bad:
        raise ConfigError(
            "cannot draw the curves", expected="at least one point each, all finite", got=f"not so: {bad}"
        )
    with matplotlib.rc_context(STYLE):
        figure, axes = plot_figure(4.6, title)
        for (name, points), colour, style, marker in zip(
            curves.items(), LINE_COLOURS, LINE_STYLES, MARKERS, strict=False
        ):
            x, y = np.asarray(sorted(points), dtype=float).T
            shape = marker if len(x) <= MANY_POINTS else ""
            axes.plot(x, y, style, color=colour, marker=shape, ms=6, mec="white", lw=2.2, label=plain(name))
        values = np.concatenate([[value for _, value in points] for points in curves.values()])
        if values.min() >= 0 and values.max() <= 1:
            axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(color=RULE, lw=0.8)
        axes.set_axisbelow(True)
        _legend_above(axes, len(curves))
        return to_png(figure)


def dice_dot_figure(rows: Sequence[DicePair], *, title: str = "") -> bytes:
    """PNG with one line per case, best transfer on top: filled dot transfer, open diamond scratch, means dashed.

    Raises:
        ConfigError: no rows, or values outside 0..1 (all such cases are named).
    """
    bad = [row.case for row in rows if not (0 <= row.transfer <= 1 and 0 <= row.scratch <= 1)]
    if bad or not rows:
        raise ConfigError("cannot draw Dice per case", expected="Dice in 0..1 for at least one case", got=bad or "none")
    ordered = sorted(rows, key=lambda row: row.transfer)
    transfer = np.array([row.transfer for row in ordered])
    scratch = np.array([row.scratch for row in ordered])
    better, worse = int((transfer > scratch).sum()), int((transfer < scratch).sum())
    with matplotlib.rc_context(STYLE):
        figure, axes = plot_figure(1.8 + 0.28 * len(ordered), title)
        height = np.arange(len(ordered))
        axes.hlines(height, np.minimum(transfer, scratch), np.maximum(transfer, scratch), color=RULE, lw=4, zorder=1)
        for index, (name, values) in enumerate((("transfer", transfer), ("scratch", scratch))):
            colour, face = LINE_COLOURS[index], (LINE_COLOURS[0], "white")[index]
            text = f"{name}, mean {values.mean():.3f}"
            axes.axvline(values.mean(), color=colour, ls="--", lw=1.3, zorder=2)
            axes.plot(
                values, height, MARKERS[index], color=colour, mfc=face, mew=1.8, ms=7, label=text, zorder=4 - index
            )
        axes.set_yticks(height, [_shorten(row.case) for row in ordered], parse_math=False)
        axes.set_ylim(-0.7, len(ordered) - 0.3)
        axes.set_xlim(0, 1.02)
        axes.set_xlabel(f"Dice · {len(ordered)} cases: transfer better in {better}, worse in {worse}")
        axes.grid(axis="x", color=RULE, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        _legend_above(axes, 2)
        return to_png(figure)


def _shorten(case: str) -> str:
    keep = (LONGEST_CASE_NAME - 1) // 2
    return case if len(case) <= LONGEST_CASE_NAME else f"{case[:keep]}…{case[-keep:]}"


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(columns, 3), frameon=False, borderaxespad=0.2)
