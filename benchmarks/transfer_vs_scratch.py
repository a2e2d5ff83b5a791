"""Does HighRes3DNet (T1 brain parcellation) help to segment the hippocampus from few labelled scans?

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/transfer_vs_scratch.py [--seeds 6] [--summary-only]

Every run is the bundle's own training at full resolution on 24^3 patches, 120 steps of batch 2, bfloat16. Arms:

- ``scratch``: HighRes3DNet from random weights;
- ``fine_tune``: every stage trains from the source;
- ``linear_probe``: only the new head trains;
- ``plain_adamw`` (n = 4): ``fine_tune`` with one learning rate for all layers, as it is usually done.

Each arm and each n gets its own sweep over three learning rates (more where the best was at the edge), judged on the
validation cases with a seed that the comparison does not use. In the comparison the arms of a seed share the labelled
cases, the initial head and the order of the batches; scores are the mean Dice over anterior and posterior of the 36
test cases, final weights, no selection.
Runs that are already in the result file are not run again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import os
import tempfile
import time
import warnings
from pathlib import Path

import monai
import numpy as np
import torch
from monai.bundle import ConfigWorkflow

from medtl_monai.statistics.holm import holm
from medtl_monai.statistics.paired import paired_difference
from medtl_monai.workflows.curves import read_curves

PROJECT = Path(__file__).resolve().parents[1]
BUNDLE = PROJECT / "bundles" / "hippocampus_mri_segmentation"
ROWS = PROJECT / "benchmarks" / "results" / "transfer_vs_scratch.jsonl"
SUMMARY = ROWS.with_suffix(".json")
DATA = Path(os.environ.get("MEDTL_DATA", PROJECT.parent / "shared" / "data")) / "hippocampus_mri"
SOURCE = "highres3dnet_gif"
EPOCHS, CASES_PER_EPOCH, TUNING_SEED = 10, 24, 1000
SWEEP = {
    "scratch": (3e-4, 1e-3, 3e-3),
    "fine_tune": (3e-4, 1e-3, 3e-3),
    "linear_probe": (3e-3, 1e-2, 3e-2, 1e-1),
    "plain_adamw": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
LEVELS = {"scratch": (4, 16), "fine_tune": (4, 16), "linear_probe": (4, 16), "plain_adamw": (4,)}


def train_once(arm: str, labelled: int, seed: int, lr: float, split: str) -> dict[str, float]:
    """One training through the bundle's configuration; mean Dice of the final weights on ``split``."""
    with tempfile.TemporaryDirectory() as folder:
        overrides: dict[str, object] = {
            "network": "highres3dnet",
            "source": "scratch" if arm == "scratch" else SOURCE,
            "strategy": "linear_probe" if arm == "linear_probe" else "fine_tune",
            "labelled": labelled,
            "seed": seed,
            "learning_rate": lr,
            "epochs": EPOCHS,
            "cases_per_epoch": CASES_PER_EPOCH,
            "val_interval": EPOCHS,
            "val_at_start": False,
            "patch_size": [24, 24, 24],
            "precision": "bfloat16",
            "dataset_dir": str(DATA),
            "datalist": str(PROJECT / "benchmarks" / "hippocampus_datalist.json"),
            "output_dir": folder,
            "validate#dataset#data#split": split,
        }
        if arm == "plain_adamw":
            overrides["optimizer"] = {"_target_": "torch.optim.AdamW", "params": "$@model.parameters()", "lr": lr}
        workflow = ConfigWorkflow(
            config_file=str(BUNDLE / "configs" / "train.json"),
            meta_file=str(BUNDLE / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type="train",
            **overrides,
        )
        start = time.perf_counter()
        workflow.initialize()
        workflow.run()
        last = read_curves(Path(folder) / "curves.csv")[-1]
        return {
            "dice": float(last["val_mean_dice"]),
            "train_loss": float(last["train_loss"]),
            "seconds": round(time.perf_counter() - start, 1),
        }


def rows() -> list[dict]:
    """All finished runs."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def run(purpose: str, arm: str, labelled: int, seed: int, lr: float, split: str) -> None:
    """Run one cell unless it is in the result file, and append it there."""
    key = {"purpose": purpose, "arm": arm, "labelled": labelled, "seed": seed, "lr": lr, "split": split}
    if any(all(row[name] == value for name, value in key.items()) for row in rows()):
        return
    row = {**key, **train_once(arm, labelled, seed, lr, split)}
    with ROWS.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print(row, flush=True)


def best_rate(arm: str, labelled: int) -> float:
    """Learning rate with the best validation Dice of the sweep."""
    sweep = [row for row in rows() if (row["purpose"], row["arm"], row["labelled"]) == ("tuning", arm, labelled)]
    return float(max(sweep, key=lambda row: row["dice"])["lr"])


def paired(arm: str, baseline: str, labelled: int) -> dict:
    """Seed-level paired difference ``arm - baseline`` with a 95 % t-interval."""
    score = {
        (row["arm"], row["seed"]): row["dice"]
        for row in rows()
        if row["purpose"] == "comparison" and row["labelled"] == labelled
    }
    seeds = sorted(seed for name, seed in score if name == arm and (baseline, seed) in score)
    known = {"arm": arm, "baseline": baseline, "labelled": labelled, "seeds": seeds}
    if len(seeds) < 2:
        return known
    of_arm, of_baseline = (np.array([score[name, seed] for seed in seeds])[:, None] for name in (arm, baseline))
    found = paired_difference(of_arm, of_baseline)
    return {
        **known,
        "mean_arm": round(float(np.mean(of_arm)), 4),
        "mean_baseline": round(float(np.mean(of_baseline)), 4),
        "difference": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": float(f"{found.p:.3g}"),
        "differences": [round(float(value), 4) for value in (of_arm - of_baseline)[:, 0]],
    }


def correct(comparisons: list[dict]) -> None:
    """Add Holm's adjusted p-values to the comparisons, as one family."""
    known = [row for row in comparisons if "p" in row]
    for row, value in zip(known, holm([row["p"] for row in known]), strict=True):
        row["p_holm"] = round(value, 5)


def summarise() -> None:
    """Write the summary JSON and print the table."""
    comparisons = [paired(arm, "scratch", n) for arm in ("fine_tune", "linear_probe") for n in (4, 16)]
    comparisons.append(paired("fine_tune", "plain_adamw", 4))
    correct(comparisons)
    summary = {
        "command": f"python benchmarks/transfer_vs_scratch.py --seeds {len(comparisons[0]['seeds'])}",
        "date": datetime.date.today().isoformat(),
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
        "steps": EPOCHS * CASES_PER_EPOCH // 2,
        "learning_rates": {f"{arm} n={n}": best_rate(arm, n) for arm, levels in LEVELS.items() for n in levels},
        "comparisons": comparisons,
        "not_run": [
            "a scratch arm trained to convergence (10 times the steps)",
            "n = 2 and 8",
            "whole-volume training",
        ],
    }
    SUMMARY.write_text(json.dumps(summary, indent=1) + "\n")
    for row in comparisons:
        print({name: value for name, value in row.items() if name != "differences"})


def main() -> None:
    """Sweep, compare, summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--summary-only", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    if not options.summary_only:
        for arm, levels in LEVELS.items():
            for labelled in levels:
                for lr in SWEEP[arm]:
                    run("tuning", arm, labelled, TUNING_SEED, lr, "validation")
        for seed in range(options.seeds):
            for arm, levels in LEVELS.items():
                for labelled in levels:
                    run("comparison", arm, labelled, seed, best_rate(arm, labelled), "test")
    summarise()


if __name__ == "__main__":
    main()
