"""From an analysis to its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medtl_monai.report.study_figures import CurvePoint, DifferenceBar, Panel, curves_figure, differences_figure
from medtl_monai.study.analysis import Analysis, Point
from medtl_monai.study.cells import BASELINE
from medtl_monai.study.names import arm_names, source_names

ARMS_PER_PANEL = 5


def curves_png(found: Analysis) -> bytes | None:
    """Learning curves over n: one plot, or one per source where there are many arms; None without a finished run."""
    if not any(found.curves.values()):
        return None
    return curves_figure(panels(found), ylabel=metric_words(found), title="Score over the number of labelled cases")


def panels(found: Analysis) -> list[Panel]:
    """The plots: all arms in one, or those of each source in one of its own."""
    design = found.design
    names = arm_names(design)
    baseline = ("scratch", _points(found.curves[BASELINE]))
    longer = (f"scratch, {design.converged:g}× epochs", _points(found.converged))
    others = [arm for arm in found.curves if arm != BASELINE]
    if len(others) <= ARMS_PER_PANEL or len(design.sources) == 1:
        return [Panel("", baseline, {names[arm]: _points(found.curves[arm]) for arm in others}, longer)]
    short = source_names(design)
    return [
        Panel(
            short[source],
            baseline,
            {arm.strategy: _points(found.curves[arm]) for arm in others if arm.source == source},
            longer,
        )
        for source in design.sources
    ]


def differences_png(found: Analysis) -> bytes | None:
    """All differences to scratch with their intervals for new seeds; None without any interval."""
    names = arm_names(found.design)
    bars = [
        DifferenceBar(
            names[entry.arm],
            entry.labelled,
            entry.interval.difference,
            entry.interval.low,
            entry.interval.high,
            entry.verdict(found.design.better) in ("helps", "hurts"),
        )
        for entry in found.comparisons
        if entry.interval is not None and not entry.converged
    ]
    if not bars:
        return None
    label = f"{metric_words(found)}, arm minus scratch, 95 % interval for new seeds; filled: shown"
    return differences_figure(bars, xlabel=label, better=found.design.better, title="Difference to scratch")


def metric_words(found: Analysis) -> str:
    """Name of the score for readers: ``val_mean_dice`` of test cases is ``mean Dice``."""
    return found.metric.removeprefix("val_").replace("_", " ").replace("dice", "Dice")


def _points(points: Sequence[Point]) -> list[CurvePoint]:
    return [
        CurvePoint(point.labelled, point.mean, point.low, point.high) for point in points if math.isfinite(point.mean)
    ]
