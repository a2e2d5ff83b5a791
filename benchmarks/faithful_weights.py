"""Do pretrained weights arrive? Known defects, measured on MONAI and on this library side by side.

    python benchmarks/faithful_weights.py [--rows F2 K3 ...] [--output benchmarks/results/faithful_weights.json]

Offline, on the CPU, one thread. The published files are stood in for by seeded state dicts with their names and shapes,
put where MONAI's own loaders look for them; MONAI's code runs unaltered. Only its download client for MedicalNet
is replaced, in row F4, by one that reads a local folder. Writes the JSON and, beside it, the table in Markdown.
Exits with 1 if this library does not do what it claims in one of the rows.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from faithful import deploy, files, freezing, imagenet, medicalnet
from faithful.row import Row

RESULT = Path(__file__).resolve().parent / "results" / "faithful_weights.json"
ROWS: dict[str, Callable[[Path], Row]] = {
    "F1-densenet121": imagenet.densenet121,
    "F1-efficientnet-b0": imagenet.efficientnet_b0,
    "F2": freezing.frozen_statistics,
    "F3-resnet18": medicalnet.resnet18_topology,
    "F3-resnet50": medicalnet.resnet50_topology,
    "F4": medicalnet.weight_sets,
    "F5": freezing.shortcut_gradient,
    "F6": medicalnet.local_file,
    "K2": files.other_head,
    "K3": files.wrapped,
    "K6": deploy.compiled,
    "damage": files.damaged,
}
SEEDS = {module.__name__: module.SEED for module in (imagenet, freezing, medicalnet, files, deploy)}


def measure(key: str) -> dict[str, Any]:
    """One row, in a temporary folder of its own."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        row = ROWS[key](Path(folder))
    return {**asdict(row), "seconds": round(time.perf_counter() - start, 1)}


def table(summary: dict) -> str:
    """The rows in Markdown."""
    versions = summary["versions"]
    lines = [
        "# Do pretrained weights arrive?",
        "",
        f"Written by `{summary['command']}` on {summary['date']} in {summary['seconds']} s; every cell is computed. "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ". Raw numbers: the JSON beside this file.",
        "",
        "The published files are stood in for by seeded state dicts with their names and shapes, put where MONAI's "
        "loaders look for them; MONAI's code runs unaltered, and only its download client for MedicalNet is replaced, "
        "in row F4, by one that reads a local folder. A difference is the largest absolute one divided by the largest "
        "absolute value of the reference. Warnings are Python warnings and log records from WARNING up.",
        "",
        f"| row | question | MONAI {versions['monai']} | this library | as claimed |",
        "|---|---|---|---|---|",
    ]
    for row in summary["rows"]:
        cells = (row["key"], row["defect"], row["monai_text"], row["ours_text"], "yes" if row["ours_ok"] else "**NO**")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, write, and say whether all is as claimed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    rows = []
    for key in options.rows:
        rows.append(measure(key))
        print(f"{key}: MONAI: {rows[-1]['monai_text']}\n    ours: {rows[-1]['ours_text']}", flush=True)
    whole = options.rows == list(ROWS)
    summary = {
        "command": "python benchmarks/faithful_weights.py" + ("" if whole else " --rows " + " ".join(options.rows)),
        "date": datetime.date.today().isoformat(),
        "versions": {
            name: version(name) for name in ("monai", "torch", "torchvision", "pytorch-ignite", "medtl-monai")
        },
        "seeds": SEEDS,
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - start, 1),
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(summary, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(table(summary))
    failed = [row["key"] for row in rows if not row["ours_ok"]]
    if failed:
        print("not as claimed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
