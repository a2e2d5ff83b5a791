"""Kendall's tau of every score with the accuracy after fine-tuning, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau

from tau.rows import Row

REPETITIONS = 2000


def table_of(rows: Sequence[Row], dataset: str) -> dict[str, dict[str, np.ndarray]]:
    """Per score name and for ``"reached"``: source -> one value per seed; sources and seeds with all of both only."""
    reached = {(row["source"], row["seed"]): row["value"] for row in rows if _is(row, "run", dataset)}
    scores = {(row["source"], row["seed"]): row["scores"] for row in rows if _is(row, "score", dataset)}
    seeds = sorted({seed for _, seed in reached.keys() & scores.keys()})
    sources = sorted({source for source, _ in reached.keys() & scores.keys()})
    whole = [
        source for source in sources if all((source, seed) in reached and (source, seed) in scores for seed in seeds)
    ]
    names = sorted({name for values in scores.values() for name in values})
    table = {"reached": {source: np.array([reached[source, seed] for seed in seeds]) for source in whole}}
    for name in names:
        values = {source: [scores[source, seed].get(name) for seed in seeds] for source in whole}
        table[name] = {source: np.array(own) for source, own in values.items() if None not in own}
    return table


def _is(row: Row, kind: str, dataset: str) -> bool:
    return row["kind"] == kind and row["dataset"] == dataset


def tau(score: dict[str, np.ndarray], reached: dict[str, np.ndarray]) -> float:
    """Kendall's tau-b of the means over seeds, over the sources that have the score."""
    names = sorted(score)
    found = kendalltau([score[name].mean() for name in names], [reached[name].mean() for name in names]).statistic
    return float(found)


def _resampled(score: dict[str, np.ndarray], reached: dict[str, np.ndarray], rng: np.random.Generator) -> float:
    """The same with other sources and other seeds (the same seeds for score and truth)."""
    names = sorted(score)
    drawn = rng.choice(len(names), len(names))
    seeds = len(next(iter(reached.values())))
    chosen = [rng.choice(seeds, seeds) for _ in drawn]
    own = [score[names[row]][pick].mean() for row, pick in zip(drawn, chosen, strict=True)]
    truth = [reached[names[row]][pick].mean() for row, pick in zip(drawn, chosen, strict=True)]
    return float(kendalltau(own, truth).statistic)


def agreement(reached: dict[str, np.ndarray]) -> float:
    """Mean tau between what two seeds reached: how far the truth foretells itself, so what a score could hope for.

    NaN with fewer than two seeds, or two sources.
    """
    values = np.array([reached[name] for name in sorted(reached)])
    seeds = range(values.shape[1]) if len(values) > 1 else range(0)
    pairs = [kendalltau(values[:, i], values[:, j]).statistic for i, j in combinations(seeds, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def summarise(rows: Sequence[Row], datasets: Sequence[str], least: int = 4) -> dict[str, dict]:
    """Per score: tau in each data set and their mean, with 95 % percentile intervals over sources and seeds.

    Scores that fewer than ``least`` sources of a data set have are left out there.
    """
    found: dict[str, dict] = {}
    draws: dict[str, list[np.ndarray]] = {}
    for dataset in datasets:
        table = table_of(rows, dataset)
        reached = table.pop("reached")
        for name, score in table.items():
            if len(score) < least:
                continue
            rng = np.random.default_rng(0)
            values = np.array([_resampled(score, reached, rng) for _ in range(REPETITIONS)])
            if not np.isfinite(values).any():  # the score is the same for every source
                continue
            draws.setdefault(name, []).append(values)
            found.setdefault(name, {})[dataset] = _entry(tau(score, reached), values, len(score))
    for name, entries in found.items():
        together = np.nanmean(np.stack(draws[name]), axis=0)
        mean = float(np.mean([entry["tau"] for entry in entries.values()]))
        entries["mean"] = _entry(mean, together, len(draws[name]))
    return found


def _entry(value: float, draws: np.ndarray, count: int) -> dict[str, float | int]:
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return {"tau": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3), "n": count}
