"""Do the scores of `medtl rank` foretell what fine-tuning reaches? Kendall's tau on three real data sets.

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/ranking_tau.py --work FOLDER [--seeds 3] [--report-only]

Data: head CT slices (2D, haemorrhage), adrenal shapes (3D, hyperplasia), hippocampus MR (3D segmentation). For every
seed some labelled cases are drawn; every source is scored on them by the library itself, and fine-tuned on them (all
layers, a fixed number of steps, the rate chosen from three on validation cases with a seed that the comparison does not
use). Scores and accuracies are means over seeds; tau is over sources. Intervals: bootstrap over sources and seeds; with
six to eight sources they are wide. Beside them: tau between what two seeds reached, which no score can be asked to
exceed by much.

Every row goes to ``results/ranking_tau.jsonl`` when it is complete; the same command goes on where a run was stopped.
``results/ranking_tau.json`` holds the summary of the rows there are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from probes.record import DATA, RESULTS, provenance
from tau.analysis import agreement, summarise, table_of
from tau.datasets import DIMS, Draw, draw_cases
from tau.finetune import RATES, finetune
from tau.rows import Row, append_row, key_of, read_rows
from tau.sources import contestants

from medtl_monai.ranking.contestant import Contestant, RankSettings, score_contestant
from medtl_monai.ranking.images import sample_voxels
from medtl_monai.ranking.scoring import CRITERION

ROWS, SUMMARY = RESULTS / "ranking_tau.jsonl", RESULTS / "ranking_tau.json"
DATASETS = ("head_ct", "adrenal", "hippocampus")
TUNING_SEED = 1000
drawn = lru_cache(maxsize=8)(draw_cases)


def score_row(contestant: Contestant, draw: Draw, work: Path) -> Row:
    """All scores of a source on the labelled cases of a draw, as `medtl rank` computes them."""
    target = draw.labelled
    voxels = (
        {}
        if target.task == "classification"
        else {case.case: sample_voxels(str(case.label), case.case, 0) for case in target.cases}
    )
    settings = RankSettings(repetitions=20, cache=work / "cache")
    found = score_contestant(target, voxels, contestant, contestant.build(), settings).source
    return {"scores": {CRITERION[target.task]: found.probe.estimate, **found.scores}}


def trained_row(dataset: str, contestant: Contestant, draw: Draw, rate: float, seed: int) -> Row:
    """What fine-tuning reaches: on the validation cases for the tuning seed, else on the test cases."""
    judged = draw.validation if seed == TUNING_SEED else draw.test
    found = finetune(dataset, contestant.build(), draw, judged, rate, seed)
    return {"value": found.score, "train_loss": found.loss if np.isfinite(found.loss) else None}


def best_rate(rows: list[Row], dataset: str, source: str) -> float:
    """The rate that was best on the validation cases."""
    tuned = [row for row in rows if (row["kind"], row["dataset"], row["source"]) == ("tune", dataset, source)]
    return float(max(tuned, key=lambda row: row["value"])["rate"])


def work_of(dataset: str, contestant: Contestant, seeds: int) -> Iterator[tuple[str, int, float | None]]:
    """Kind, seed and rate of every row of a source; None for a rate that the rows before decide."""
    for rate in RATES:
        yield "tune", TUNING_SEED, rate
    for seed in range(seeds):
        yield "score", seed, 0.0
        yield "run", seed, None


def run(seeds: int, data: Path, work: Path) -> None:
    """Fill in the rows that are missing."""
    rows = read_rows(ROWS)
    done = {key_of(row) for row in rows}
    for dataset in DATASETS:
        for contestant in contestants(dataset, DIMS[dataset], data, work):
            for kind, seed, given in work_of(dataset, contestant, seeds):
                rate = best_rate(rows, dataset, contestant.name) if given is None else given
                row: Row = {"kind": kind, "dataset": dataset, "source": contestant.name, "seed": seed, "rate": rate}
                if key_of(row) in done:
                    continue
                draw, started = drawn(dataset, data, work, seed), time.perf_counter()
                row |= (
                    score_row(contestant, draw, work)
                    if kind == "score"
                    else trained_row(dataset, contestant, draw, rate, seed)
                )
                row["seconds"] = round(time.perf_counter() - started, 1)
                append_row(ROWS, row)
                rows.append(row)
                print(json.dumps({name: row[name] for name in row if name != "scores"}), flush=True)


def report(seeds: int) -> None:
    """Write the summary of the rows that are there, and print it."""
    rows = read_rows(ROWS)
    summary = summarise(rows, DATASETS)
    itself = {dataset: round(agreement(table_of(rows, dataset)["reached"]), 3) for dataset in DATASETS}
    content = {
        **provenance("ranking_tau.py"),
        "seeds": seeds,
        "rows": len(rows),
        "tau": summary,
        "tau_between_seeds_of_the_truth": itself,
    }
    SUMMARY.write_text(json.dumps(content, indent=2) + "\n")
    for name in sorted(summary, key=lambda name: -summary[name]["mean"]["tau"]):
        parts = [
            f"{dataset} {entry['tau']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"
            for dataset, entry in summary[name].items()
        ]
        print(f"{name:<28}" + "  ".join(parts))
    print(f"what two seeds reached, tau between them: {itself}")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for images, own networks and features")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    if not options.report_only:
        options.work.mkdir(parents=True, exist_ok=True)
        run(options.seeds, DATA, options.work)
    report(options.seeds)


if __name__ == "__main__":
    main()
