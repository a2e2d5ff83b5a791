"""A ranking on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medtl_monai.ranking.result import NOT_KNOWN, RankedSource, Ranking

TITLES = {
    "probe_auc": "probe AUC",
    "probe_accuracy_per_patient": "probe accuracy per patient",
    "probe_accuracy": "balanced accuracy",
    "knn": "k-NN",
    "logme": "LogME",
    "h_score": "H-score",
    "leep": "LEEP",
    "nleep": "N-LEEP",
    "transrate": "TransRate",
    "consistency": "class consistency",
}


def headings(ranking: Ranking) -> list[str]:
    """Column names of :func:`lines`."""
    return [
        "source",
        TITLES[ranking.criterion],
        "95 % interval",
        *(TITLES[name] for name in score_names(ranking)),
        "domain distance",
        "features",
        "parameters",
        "s/image",
        "licence",
        "commercial",
    ]


def score_names(ranking: Ranking) -> list[str]:
    """Names of the other scores that at least one source has."""
    names = list(dict.fromkeys(name for source in ranking.sources for name in source.scores))
    return [name for name in names if any(source.scores.get(name) is not None for source in ranking.sources)]


def lines(ranking: Ranking) -> list[list[str]]:
    """A row of texts per source, best first."""
    names = score_names(ranking)
    return [_line(source, names) for source in ranking.sources]


def _line(source: RankedSource, names: Sequence[str]) -> list[str]:
    values = [source.scores.get(name) for name in names]
    return [
        source.source,
        f"{source.probe.estimate:.3f}",
        f"{source.probe.low:.3f} to {source.probe.high:.3f}",
        *("-" if value is None else f"{value:.3f}" for value in values),
        _domain(source),
        str(source.feature_size),
        f"{source.parameters:,}",
        "cached" if source.seconds is None else f"{source.seconds:.2f}",
        source.licensing.licence,
        source.licensing.word,
    ]


def _domain(source: RankedSource) -> str:
    if source.domain is None:
        return NOT_KNOWN
    distance = source.domain
    return f"MMD2 {distance.mmd_squared:.3f} (p {distance.p_value:.3f}), Frechet {distance.frechet:.3g}"


def show(ranking: Ranking, stream: IO[str]) -> None:
    """Print the table, what could not be compared, and the recommendation.

    On a terminal the table is drawn; into a file or pipe go plain lines of any length.
    """
    console = Console(file=stream, highlight=False)
    if console.is_terminal:
        drawn = Table(*headings(ranking))
        for line in lines(ranking):
            drawn.add_row(*map(Text, line))
        console.print(drawn)
    else:
        print(_aligned([headings(ranking), *lines(ranking)]), file=stream)
    for entry in ranking.failed:
        print(f"failed: {entry.source}: {entry.reason}", file=stream)
    for entry in ranking.unusable:
        print(f"not compared: {entry.source}: {entry.reason}", file=stream)
    for source in ranking.sources:
        for note in source.notes:
            print(f"note: {source.source}: {note}", file=stream)
    print(summary(ranking), file=stream)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(ranking: Ranking) -> str:
    """The recommendation with its reason, in a few sentences."""
    data = f"{ranking.cases} labelled cases of {ranking.patients} patients, {ranking.spatial_dims}D {ranking.task}."
    return "\n".join([data, *ranking.recommendation.sentences])
