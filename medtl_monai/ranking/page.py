"""A ranking as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np

from medtl_monai import __version__
from medtl_monai.ranking.result import RankedSource, Ranking
from medtl_monai.ranking.table import TITLES, headings, lines
from medtl_monai.report.canvas import STYLE, plot_figure, to_png
from medtl_monai.report.html import Figure, Section, Table, render_report
from medtl_monai.report.palette import LINE_COLOURS, MUTED, RULE

_WHY = (
    "The order comes from the linear probe: logistic regression on frozen features, trained and judged on different "
    "patients. It is the only score here that measures what is wanted, a prediction for patients not seen; the others "
    "are cheap stand-ins, shown for comparison. docs/ranking.md tells how well each foretells the result of a training."
)
_INTERVALS = (
    "Intervals are over patients (a fifth of them left out, many times). They tell what other patients would change, "
    "not what another training would."
)


def page(ranking: Ranking) -> str:
    """The HTML document.

    Raises:
        ConfigError: a table that cannot be rendered.
    """
    sections = [
        Section("Sources", [_WHY, _INTERVALS], [_figure(ranking), _table(ranking)]),
        Section(
            "Differences to the best", [_simultaneous(ranking)], [_leads(ranking)] if ranking.decision.leads else []
        ),
        *_left_out(ranking),
    ]
    facts = {
        "task": f"{ranking.spatial_dims}D {ranking.task}",
        "classes": ", ".join(f"{value}: {name}" for value, name in ranking.classes.items()),
        "cases": ranking.cases,
        "patients": ranking.patients,
        **ranking.settings,
        "medtl-monai": __version__,
    }
    return render_report("Which source for these data?", ranking.recommendation.sentences, sections, facts=facts)


def _table(ranking: Ranking) -> Table:
    return Table(headings(ranking), lines(ranking), "All sources that were scored, best first.")


def _simultaneous(ranking: Ranking) -> str:
    if not ranking.decision.leads:
        return "One source was scored: there is nothing to compare."
    return (
        "Best less other, over the same patients. The best was picked after looking, so the intervals hold for all "
        f"pairs at once ({ranking.decision.multiple:.2f} standard errors to each side). Where 0 lies inside, the two "
        "cannot be told apart."
    )


def _leads(ranking: Ranking) -> Table:
    rows = [
        (lead.source, lead.difference, lead.low, lead.high, "ahead" if lead.clear else "too close to call")
        for lead in ranking.decision.leads
    ]
    return Table(
        ("source", "difference", "low", "high", "the best is"), rows, f"Best: {ranking.decision.order[0]}.", decimals=3
    )


def _left_out(ranking: Ranking) -> list[Section]:
    rows = [(entry.source, "failed", entry.reason) for entry in ranking.failed]
    rows += [(entry.source, "not compared", entry.reason) for entry in ranking.unusable]
    rows += [(source.source, "note", note) for source in ranking.sources for note in source.notes]
    return [Section("Left out, and remarks", [], [Table(("source", "what", "reason"), rows)])] if rows else []


def _figure(ranking: Ranking) -> Figure:
    title = TITLES[ranking.criterion]
    text = "; ".join(f"{source.source} {source.probe.estimate:.3f}" for source in ranking.sources)
    caption = "Dots: the score; lines: 95 % intervals over patients; open: initial weights.."
    return Figure(_dots(ranking.sources, title, _chance(ranking)), f"{title} per source: {text}", caption)


def _chance(ranking: Ranking) -> float:
    return 0.5 if ranking.criterion == "probe_auc" else 1.0 / max(len(ranking.classes), 2)


def _dots(sources: Sequence[RankedSource], title: str, chance: float) -> bytes:
    with matplotlib.rc_context(STYLE):
        figure, axes = plot_figure(1.2 + 0.42 * len(sources), "")
        for height, source in zip(np.arange(len(sources))[::-1], sources, strict=True):
            colour = MUTED if source.random else LINE_COLOURS[0]
            axes.hlines(height, source.probe.low, source.probe.high, color=colour, lw=2.2)
            face = "white" if source.random else colour
            axes.plot(source.probe.estimate, height, "o", color=colour, mfc=face, mew=1.8, ms=8)
        axes.axvline(chance, color=MUTED, ls=":", lw=1.2)
        axes.set_yticks(np.arange(len(sources))[::-1], [source.source for source in sources], parse_math=False)
        axes.set_ylim(-0.6, len(sources) - 0.4)
        axes.set_xlabel(f"{title} (dotted: chance)")
        axes.grid(axis="x", color=RULE, lw=0.8)
        axes.set_axisbelow(True)
        return to_png(figure)
