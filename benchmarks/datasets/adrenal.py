"""The adrenal shapes (AdrenalMNIST3D) as NIfTI files with a datalist, in a work folder outside the project.

    MEDTL_DATA=... python benchmarks/datasets/adrenal.py WORK_FOLDER

1188, 98 and 298 masks of 28^3 voxels in the official splits. The published arrays have neither voxel size nor
orientation: the files get 1 mm and an identity affine, and no lengths or sides may be read from them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from medtl_monai.data.classification import ClassCase, ClassificationDatalist

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MEDTL_DATA", PROJECT.parent / "shared" / "data"))
CLASSES = {0: "normal", 1: "hyperplasia"}
OFFICIAL = {"training": "train", "validation": "val", "test": "test"}


def write_adrenal(archive: Path, folder: Path) -> ClassificationDatalist:
    """Write ``images/SPLIT_NUMBER.nii.gz`` (uint8, 0 and 1) and ``datalist.json`` from the published npz file."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    splits = {}
    with np.load(archive) as stored:
        for split, name in OFFICIAL.items():
            masks, labels = stored[f"{name}_images"] > 0, stored[f"{name}_labels"].ravel()
            cases = []
            for number, (mask, label) in enumerate(zip(masks, labels, strict=True)):
                case = f"{name}_{number:04d}"
                image = nib.Nifti1Image(mask.astype(np.uint8), np.eye(4))
                image.set_qform(None, code=0)
                nib.save(image, folder / "images" / f"{case}.nii.gz")
                cases.append(ClassCase(case, f"images/{case}.nii.gz", int(label), case))
            splits[split] = tuple(cases)
    datalist = ClassificationDatalist(CLASSES, splits)
    datalist.save(folder / "datalist.json")
    return datalist


def main() -> None:
    """Write files and datalist, and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if PROJECT in folder.resolve().parents:
        parser.error("the work folder must be outside the project: data are not part of it")
    datalist = write_adrenal(DATA / "adrenal_ct" / "adrenalmnist3d.npz", folder)
    for split, cases in datalist.splits.items():
        print(f"{split}: {len(cases)} masks ({sum(case.label for case in cases)} with hyperplasia)")


if __name__ == "__main__":
    main()
