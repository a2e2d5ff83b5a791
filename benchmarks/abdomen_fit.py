"""Can the abdomen bundle fit real CT? One scan of 3 mm, some of its organs, trained and judged on that very scan.

    MEDTL_DATA=... python benchmarks/abdomen_fit.py --work FOLDER [--epochs 60]

This is a check of the bundle (windows, axes, patches, loss, inversion), not of generalisation: training, validation and
test are the same scan, whose labels are another model's output. Result: ``results/abdomen_fit_NETWORK.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from probes.record import DATA, PROJECT, RESULTS, provenance

ORGANS = {1: "spleen", 2: "right kidney", 3: "left kidney", 5: "liver", 6: "stomach"}  # TotalSegmentator's numbers
BUNDLE = PROJECT / "bundles" / "abdomen_ct_segmentation"


def write_case(folder: Path) -> None:
    """The scan, its organs numbered 1, 2, ..., and a datalist that uses it for everything."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    image = nib.load(DATA / "abdomen_ct" / "ct_3mm.nii.gz")
    label = nib.load(DATA / "abdomen_ct" / "ct_3mm_pseudo_labels.nii.gz")
    values = np.asarray(label.dataobj)
    organs = np.zeros(values.shape, np.uint8)
    for number, value in enumerate(ORGANS, start=1):
        organs[values == value] = number
    row = {"case": "ct", "image": "images/ct.nii.gz", "label": "labels/ct.nii.gz"}
    for array, like, name in ((np.asarray(image.dataobj), image, row["image"]), (organs, label, row["label"])):
        made = nib.Nifti1Image(array, like.affine)
        made.set_qform(like.affine, 1)
        made.set_sform(like.affine, 1)
        nib.save(made, folder / name)
    splits = {split: [{**row, "case": f"ct_{split}"}] for split in ("training", "validation", "test")}
    (folder / "cases.json").write_text(json.dumps(splits))


def run(config: str, options: dict[str, object]) -> None:
    """One command of the bundle. Raises CalledProcessError."""
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, "--bundle_root", ".", *words]
    subprocess.run(command, cwd=BUNDLE, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Train, judge, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--network", default="unet_medicalnet_resnet18")
    options = parser.parse_args()
    work = options.work.resolve()
    write_case(work)
    names = {"0": "background", **{str(number): name for number, name in enumerate(ORGANS.values(), start=1)}}
    case = {"image": str(work / "images" / "ct.nii.gz"), "label": str(work / "labels" / "ct.nii.gz"), "case": "ct"}
    shared = {
        "dataset_dir": work,
        "label_values": list(range(len(names))),
        "label_names": names,
        "spacing": [3, 3, 3],
        "network": options.network,
        "train#dataset#data": [case],
        "validate#dataset#data": [case],
    }
    training = {
        "output_dir": work / "run",
        "epochs": options.epochs,
        "val_interval": options.epochs,
        "cases_per_epoch": 8,
        "batch_size": 1,
        "patch_size": [48, 48, 32],
        "val_at_start": False,
    }
    start = time.perf_counter()
    run("configs/train.json", {**shared, **training})
    seconds = time.perf_counter() - start
    judged = {**shared, "ckpt_dir": work / "run", "output_dir": work / "eval"}
    evaluation = {key: value for key, value in judged.items() if key != "train#dataset#data"}
    run("['configs/train.json','configs/evaluate.json']", {**evaluation, "train#dataset#data": [case]})
    rows = list(csv.DictReader((work / "eval" / "metrics.csv").open()))
    result = {
        **provenance("abdomen_fit.py"),
        "network": options.network,
        "steps": options.epochs * 8,
        "training_seconds": round(seconds, 1),
        "organs": [
            {key: row[key] for key in ("structure", "dice", "hd95_mm", "volume_ml", "true_volume_ml")} for row in rows
        ],
    }
    (RESULTS / f"abdomen_fit_{options.network}.json").write_text(json.dumps(result, indent=2) + "\n")
    for row in rows:
        print(row["structure"], row["dice"])


if __name__ == "__main__":
    main()
