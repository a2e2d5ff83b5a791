"""Which frozen features serve as a source in 3D: an ImageNet network made 3D, or a network of brain MR?

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/inflated_sources.py [--seeds 10] [--highres-seeds 5]
        [--cache FOLDER] [--parts adrenal hippocampus]

Sources: SqueezeNet 1.0 (ImageNet, pruned) inflated by ``mean``, ``centre`` and ``acs``, depth strided as height
(volumes are isotropic), ImageNet normalisation folded in; HighRes3DNet (T1 brain parcellation). Control of each: the
same network from random initial weights, new ones for every seed. ``renewed``: batch norm statistics taken anew from
training images (SqueezeNet has none). HighRes3DNet runs in bfloat16, SqueezeNet in float32.

- ``adrenal``: AdrenalMNIST3D, binary shapes of 28^3 voxels, official split; global averages of the deepest level
  (secondary: of all levels) and logistic regression on 50, 200 (drawn anew for every seed) or all training cases, C by
  the AUC on the validation split. SqueezeNet sees 0 and 1; HighRes3DNet the z-scored box of 14x20x20 voxels around the
  shapes, its statistics renewed from 64 training volumes. ``voxels``: the shapes in blocks of 2^3.
- ``hippocampus``: linear model on the features of voxels, all levels interpolated to the voxel grid; 8 labelled cases,
  drawn anew for every seed, 12 test cases; penalty and weight of the class prior by 6 validation cases and a draw that
  the comparison leaves out. SqueezeNet sees [0, 1] by percentiles, HighRes3DNet z-scores, its statistics renewed from 4
  of the labelled cases. ``patches``: the 5^3 intensities around a voxel.

Intervals: ``t`` over seeds (draws and random networks, for these test cases), ``bootstrap`` over seeds and test cases
(2000 rounds). With all adrenal cases labelled only random networks differ between seeds. The penalties to choose from
were widened, for all arms alike, after a first run in which a control chose the weakest. One primary conclusion hangs
on it: ``squeezenet_mean`` with 200 labelled shapes, bootstrap [-0.003, 0.111] before and [0.010, 0.129] after.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from probes import adrenal, hippocampus
from probes.estimates import bootstrap_auc, bootstrap_mean, holm, pair_wins, rounded, t_interval
from probes.networks import METHODS
from probes.record import DATA, PROJECT, RESULTS, provenance

RESULT = RESULTS / "inflated_sources.json"
Pair = tuple[str, str]
SQUEEZENET_PAIRS: tuple[Pair, ...] = tuple(
    (f"squeezenet_{method}/published", f"squeezenet_{method}/random") for method in METHODS
)
RENEWED: Pair = ("highres3dnet/published_renewed", "highres3dnet/random_renewed")
RENEWAL: Pair = ("highres3dnet/published_renewed", "highres3dnet/published")
ADRENAL_PRIMARY = (*SQUEEZENET_PAIRS, RENEWED)
ADRENAL_SECONDARY: tuple[Pair, ...] = (("highres3dnet/published", RENEWED[1]), RENEWAL)
AGAINST_VOXELS: tuple[Pair, ...] = tuple((first, "voxels") for first, _ in ADRENAL_PRIMARY)
HIPPOCAMPUS_PRIMARY = (*SQUEEZENET_PAIRS, ("highres3dnet/published", "highres3dnet/random"))
HIPPOCAMPUS_SECONDARY = (RENEWED, RENEWAL, *((first, "patches") for first, _ in HIPPOCAMPUS_PRIMARY))


def with_holm(entries: list[dict]) -> list[dict]:
    """The comparisons, the primary ones among them with Holm's p-values as one family."""
    family = {str(index): entry["t"]["p"] for index, entry in enumerate(entries) if not entry["secondary"]}
    for index, p in holm(family).items():
        entries[int(index)]["t"]["p_holm"] = float(f"{p:.3g}")
    return entries


class AdrenalScores:
    """Test scores of every fit, and tables of them over the seeds that two arms share."""

    def __init__(self, scores: dict[tuple, np.ndarray], truth: np.ndarray) -> None:
        self.truth = truth
        self.wins = {key: pair_wins(truth, values) for key, values in scores.items()}

    def seeds(self, arm: str, pooling: str, labelled: int) -> list[int]:
        """The seeds of a cell."""
        return sorted(key[3] for key in self.wins if key[:3] == (arm, pooling, labelled))

    def table(self, arm: str, pooling: str, labelled: int, seeds: list[int]) -> np.ndarray:
        """Pair table per seed; a cell that is the same for all seeds is repeated."""
        own = self.seeds(arm, pooling, labelled)
        return np.stack([self.wins[arm, pooling, labelled, seed if seed in own else own[0]] for seed in seeds])

    def compare(self, pair: Pair, pooling: str, labelled: int, secondary: bool) -> dict:
        """AUC of the first arm minus that of the second, on the same seeds."""
        each = [set(self.seeds(arm, pooling, labelled)) for arm in pair]
        seeds = sorted(set.intersection(*each) if labelled else set.union(*each))
        tables = [self.table(arm, pooling, labelled, seeds) for arm in pair]
        per_seed = (tables[0] - tables[1]).mean(axis=(1, 2))
        entry: dict = {"difference": " - ".join(pair), "pooling": pooling, "labelled": labelled or "all"}
        entry |= {"secondary": secondary, "seeds": len(seeds)}
        if len(seeds) > 1:
            entry["t"] = rounded(t_interval(per_seed.tolist()))
        entry["bootstrap"] = rounded(bootstrap_auc(self.truth, tables[0] - tables[1]))
        return entry


def adrenal_part(seeds: int, highres_seeds: int, cache: Path) -> tuple[dict, list[dict]]:
    """Summary and rows."""
    shapes = adrenal.read_shapes(DATA / "adrenal_ct" / "adrenalmnist3d.npz")
    rows, scores = adrenal.run(shapes, seeds, highres_seeds, cache)
    found = AdrenalScores(scores, shapes.labels[shapes.test])
    cells = sorted({(row["arm"], row["pooling"], row["labelled"]) for row in rows})
    arms = []
    for cell in cells:
        own = found.seeds(*cell)
        accuracy = [row["accuracy"] for row in rows if (row["arm"], row["pooling"], row["labelled"]) == cell]
        arms.append(
            {
                **dict(zip(("arm", "pooling", "labelled"), (*cell[:2], cell[2] or "all"), strict=True)),
                "seeds": len(own),
                "auc": rounded(bootstrap_auc(found.truth, found.table(*cell, own))),
                "accuracy": round(float(np.mean(accuracy)), 4),
            }
        )
    deepest = [
        found.compare(pair, "deepest", labelled, pair not in ADRENAL_PRIMARY)
        for pair in (*ADRENAL_PRIMARY, *ADRENAL_SECONDARY, *AGAINST_VOXELS)
        for labelled in adrenal.LABELLED
    ]
    others = [
        found.compare(pair, "all_levels", labelled, True)
        for pair in (*ADRENAL_PRIMARY, *ADRENAL_SECONDARY)
        for labelled in adrenal.LABELLED
    ]
    summary = {
        "cases": {name: len(getattr(shapes, name)) for name in ("train", "validation", "test")},
        "always_the_larger_class_accuracy": round(float(1 - found.truth.mean()), 4),
        "share_of_shapes_in_box": round(shapes.share_in_box(), 4),
        "arms": arms,
        "differences": with_holm([*deepest, *others]),
    }
    return summary, [{"part": "adrenal", **row} for row in rows]


def hippocampus_part(seeds: int, highres_seeds: int) -> tuple[dict, list[dict]]:
    """Summary and rows; Dice is the mean of anterior and posterior where it is one number."""
    scans = hippocampus.read_scans(DATA / "hippocampus_mri", PROJECT / "benchmarks" / "hippocampus_datalist.json")
    results = hippocampus.run(scans, seeds, highres_seeds)
    tables = {arm: result["dice"].mean(axis=2) for arm, result in results.items()}
    differences = []
    for first, second in (*HIPPOCAMPUS_PRIMARY, *HIPPOCAMPUS_SECONDARY):
        shared = min(len(tables[first]), len(tables[second]))
        table = tables[first][:shared] - tables[second][:shared]
        entry: dict = {"difference": f"{first} - {second}", "seeds": shared}
        entry["secondary"] = (first, second) not in HIPPOCAMPUS_PRIMARY
        entry["t"] = rounded(t_interval(table.mean(axis=1).tolist()))
        entry["bootstrap"] = rounded(bootstrap_mean(table))
        differences.append(entry)
    arms, rows = [], []
    for arm, result in results.items():
        anterior, posterior = result["dice"].mean(axis=(0, 1))
        edges = (hippocampus.STRENGTHS[0], hippocampus.STRENGTHS[-1])
        settings = {"C": result["C"], "C_at_the_edge": result["C"] in edges, "prior": result["prior"]}
        parts = {"anterior": round(float(anterior), 4), "posterior": round(float(posterior), 4)}
        arms.append(
            {"arm": arm, "seeds": len(tables[arm]), **settings, **parts, "dice": rounded(bootstrap_mean(tables[arm]))}
        )
        for seed, per_case in enumerate(result["dice"].mean(axis=1).round(4).tolist()):
            rows.append(
                {"part": "hippocampus", "arm": arm, "seed": seed, "anterior": per_case[0], "posterior": per_case[1]}
            )
    summary = {
        "test_cases": scans.test,
        "labelled_cases": {str(seed): scans.draw(seed) for seed in range(seeds)},
        "arms": arms,
        "differences": with_holm(differences),
    }
    return summary, rows


def main() -> None:
    """Run the parts and write the summary, and every fit beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--highres-seeds", type=int, default=5, help="seeds of the random HighRes3DNet, which is slow")
    parser.add_argument("--cache", type=Path, help="folder for pooled features; a temporary one without it")
    parser.add_argument("--parts", nargs="+", choices=("adrenal", "hippocampus"), default=["adrenal", "hippocampus"])
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    summary, rows = provenance("inflated_sources.py"), list[dict]()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        cache.mkdir(parents=True, exist_ok=True)
        if "adrenal" in options.parts:
            summary["adrenal"], found = adrenal_part(options.seeds, options.highres_seeds, cache)
            rows += found
            summary["adrenal_seconds"] = round(time.perf_counter() - start, 1)
    middle = time.perf_counter()
    if "hippocampus" in options.parts:
        summary["hippocampus"], found = hippocampus_part(options.seeds, options.highres_seeds)
        rows += found
        summary["hippocampus_seconds"] = round(time.perf_counter() - middle, 1)
    summary["not_run"] = ["random HighRes3DNet without renewed statistics on adrenal", "enlarged adrenal volumes"]
    options.output.write_text(json.dumps(summary, indent=1) + "\n")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with options.output.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
