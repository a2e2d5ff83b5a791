"""``medtl rank``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medtl_monai.errors import ConfigError, OutputError
from medtl_monai.io.atomic import write_json, write_text
from medtl_monai.ranking.contestant import RankSettings
from medtl_monai.ranking.page import page
from medtl_monai.ranking.rank import rank_sources
from medtl_monai.ranking.result import Ranking
from medtl_monai.ranking.table import show
from medtl_monai.ranking.target import read_target


def run_rank(options: argparse.Namespace) -> int:
    """Rank sources for a dataset folder; prints the table and writes ``rank.json`` and ``rank.html`` if asked to.

    Raises:
        MedTLError: see :func:`medtl_monai.ranking.target.read_target` and
            :func:`medtl_monai.ranking.rank.rank_sources`; also an output folder that cannot be written to.
    """
    output: Path | None = options.output
    if output is not None:
        _make(output)  # before hours of work
    target = read_target(
        options.data,
        options.task,
        datalist=options.datalist,
        labelled=options.labelled,
        seed=options.seed,
        spatial_dims=options.spatial_dims,
        colour=options.colour,
    )
    settings = RankSettings(
        repetitions=options.bootstrap,
        seed=options.seed,
        commercial=options.commercial,
        cache=None if output is None else output / "cache",
    )
    ranking = rank_sources(target, _names(options.sources), settings, tell=_tell)
    show(ranking, sys.stdout)
    if output is not None:
        write_ranking(ranking, output)
        sys.stdout.write(f"{output / 'rank.html'}\n")
    return 0


def write_ranking(ranking: Ranking, folder: Path) -> None:
    """Write ``rank.json`` and ``rank.html`` into a folder. Raises OutputError if that cannot be done."""
    write_json(folder / "rank.json", ranking.to_json())
    write_text(folder / "rank.html", page(ranking))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot make the output folder", path=folder, got=error.strerror) from error


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else []
    if not all(names):
        raise ConfigError("a source has no name", expected="--sources a,b,c", got=text)
    return names


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
