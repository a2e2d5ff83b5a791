"""Accuracy and CPU cost of the hippocampus models on test cases that no training saw.

    MEDTL_DATA=... python benchmarks/hippocampus_models.py unet=bundles/hippocampus_mri_segmentation/models/model.pt \\
        [highres3dnet=FILE]

Accuracy: the bundle's own evaluation on the 36 test cases of ``hippocampus_datalist.json``, on each scan's own grid.
Cost, for the test case nearest to 35x50x36 voxels, one thread, float32, medians:

- ``forward_s``: the network alone on the prepared volume;
- ``file_to_file_s``: NIfTI in, mask written and checked, in a running process;
- ``process_s``: ``python -m monai.bundle run`` from start to exit, imports included.
"""

from __future__ import annotations

import csv
import datetime
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import monai
import nibabel as nib
import torch
from monai.bundle import ConfigWorkflow

PROJECT = Path(__file__).resolve().parents[1]
BUNDLE = PROJECT / "bundles" / "hippocampus_mri_segmentation"
DATALIST = PROJECT / "benchmarks" / "hippocampus_datalist.json"
RESULT = PROJECT / "benchmarks" / "results" / "hippocampus_models.json"
DATA = Path(os.environ.get("MEDTL_DATA", PROJECT.parent / "shared" / "data")) / "hippocampus_mri"
TYPICAL = (35, 50, 36)
META = str(BUNDLE / "configs" / "metadata.json")


def evaluate(network: str, weights: Path, folder: Path) -> dict:
    """Summary of the bundle's evaluation on the test split, with volume errors and the worst case of each structure."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "model.pt").symlink_to(weights.resolve())
    workflow = ConfigWorkflow(
        config_file=[str(BUNDLE / "configs" / name) for name in ("train.json", "evaluate.json")],
        meta_file=META,
        logging_file=False,
        workflow_type="train",
        network=network,
        dataset_dir=str(DATA),
        datalist=str(DATALIST),
        ckpt_dir=str(checkpoints),
        output_dir=str(folder / "scores"),
    )
    workflow.initialize()
    workflow.run()
    summary = json.loads((folder / "scores" / "metrics.json").read_text())
    with (folder / "scores" / "metrics.csv").open(newline="") as stream:
        cases = list(csv.DictReader(stream))
    for structure in {row["structure"] for row in cases}:
        rows = [row for row in cases if row["structure"] == structure]
        errors = [100 * (float(row["volume_ml"]) / float(row["true_volume_ml"]) - 1) for row in rows]
        worst = min(rows, key=lambda row: float(row["dice"]))
        summary[structure]["volume_error_percent"] = {
            "mean": round(statistics.fmean(errors), 1),
            "sd": round(statistics.stdev(errors), 1),
        }
        summary[structure]["lowest_dice"] = {"case": worst["case"], "dice": round(float(worst["dice"]), 3)}
    return summary


def typical_case() -> Path:
    """Image of the test case whose shape is nearest to the data set's median."""
    tests = [DATA / row["image"] for row in json.loads(DATALIST.read_text())["test"]]
    return min(tests, key=lambda path: sum(abs(a - b) for a, b in zip(nib.load(path).shape, TYPICAL, strict=True)))


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, in s, after one call that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 4)


def inference_cost(network: str, weights: Path, image: Path, folder: Path) -> dict[str, float]:
    """The three costs of one case."""
    options = {
        "network": network,
        "dataset_dir": str(image),
        "ckpt_path": str(weights),
        "output_dir": str(folder / "masks"),
    }
    workflow = ConfigWorkflow(
        config_file=str(BUNDLE / "configs" / "inference.json"),
        meta_file=META,
        logging_file=False,
        workflow_type="inference",
        **options,
    )
    workflow.initialize()
    file_to_file = median_seconds(workflow.run, 7)
    model = workflow.parser.get_parsed_content("model").eval()
    volume = workflow.parser.get_parsed_content("dataset")[0]["image"].as_tensor()[None].contiguous()
    with torch.inference_mode():
        forward = median_seconds(lambda: model(volume), 7)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(BUNDLE / "configs" / "inference.json")]
    for name, value in options.items():
        command += [f"--{name}", value]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = median_seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True), 2)
    return {"forward_s": forward, "file_to_file_s": file_to_file, "process_s": process}


def main() -> None:
    """Measure every ``network=weights`` of the command line and write the result file."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    image = typical_case()
    rows = []
    for word in sys.argv[1:]:
        network, _, file = word.partition("=")
        with tempfile.TemporaryDirectory() as name:
            summary = evaluate(network, Path(file), Path(name))
            cost = inference_cost(network, Path(file), image, Path(name))
        dice = summary["mean"]["dice"]["mean"]
        rows.append(
            {
                "network": network,
                "scores": summary,
                **cost,
                "dice_per_forward_second": round(dice / cost["forward_s"], 2),
            }
        )
        print(network, json.dumps(rows[-1]), flush=True)
    result = {
        "command": "python benchmarks/hippocampus_models.py "
        + " ".join(w.partition("=")[0] + "=FILE" for w in sys.argv[1:]),
        "date": datetime.date.today().isoformat(),
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
        "shape": list(nib.load(image).shape),
        "models": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
