"""The datalist of the head CT slices, related slices kept together.

    MEDTL_DATA=... python benchmarks/datasets/head_ct.py OUTPUT.json [--seed 0]

About 60, 15 and 25 % of the slices are for training, validation and test. Nothing of the images is copied; the datalist
belongs to the folder ``head_ct_hemorrhage`` in MEDTL_DATA. The slices name no patients: those that
``probes/head_ct.py`` found to be related count as one, which is a lower bound of what may be related.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from probes.head_ct import group_numbers

from medtl_monai.data.classification import ClassCase, ClassificationDatalist
from medtl_monai.data.classification_split import stratified_split

DATA = Path(os.environ.get("MEDTL_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CLASSES = {0: "normal", 1: "haemorrhage"}
FRACTIONS = {"validation": 0.15, "test": 0.25}


def head_ct_datalist(folder: Path, seed: int) -> ClassificationDatalist:
    """The datalist of ``labels.csv`` (columns id, hemorrhage) in a folder with ``images/ID.png``."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, skipinitialspace=True))
    names = [row["id"] for row in rows]
    groups = group_numbers(names)
    cases = [
        ClassCase(name, f"images/{name}.png", int(row["hemorrhage"]), f"group_{group:03d}")
        for name, row, group in zip(names, rows, groups, strict=True)
    ]
    return ClassificationDatalist(CLASSES, stratified_split(cases, fractions=FRACTIONS, seed=seed))


def main() -> None:
    """Write the datalist and say how many slices and groups each split has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    datalist = head_ct_datalist(DATA / "head_ct_hemorrhage", options.seed)
    datalist.save(options.output)
    for split, cases in datalist.splits.items():
        positive, groups = sum(case.label for case in cases), len({case.patient for case in cases})
        print(f"{split}: {len(cases)} slices ({positive} with haemorrhage) of {groups} groups")


if __name__ == "__main__":
    main()
