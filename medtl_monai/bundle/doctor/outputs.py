"""What inference has to leave behind: for a segmentation a mask of each image, on its grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from medtl_monai.bundle.doctor.outcome import Problem
from medtl_monai.bundle.doctor.subject import Subject
from medtl_monai.bundle.doctor.synthetic import Cases

_FILE = "configs/inference.json"


def case_of(path: Path) -> str:
    """The name of a case: its file without suffixes."""
    return path.name.split(".")[0]


def mask_for(image: Path, output: Path) -> Path | None:
    """The file in ``output`` or below that belongs to an image: it starts with the image's name."""
    found = sorted(path for path in output.rglob("*") if path.is_file() and path.name.startswith(case_of(image)))
    return found[0] if found else None


def wrong_outputs(subject: Subject, cases: Cases, output: Path) -> Iterator[Problem]:
    """What is wrong with the files that inference wrote."""
    if not output.is_dir() or not any(path.is_file() for path in output.rglob("*")):
        yield Problem("inference left nothing in output_dir", "save results there", _FILE)
        return
    if subject.task != "segmentation":
        return
    for row in cases.inference:
        image = Path(row["image"])
        mask = mask_for(image, output)
        if mask is None:
            yield Problem(f"no mask of {image.name}", "name masks after images", _FILE)
        elif mask.name.endswith(".nii.gz") and image.name.endswith(".nii.gz"):
            yield from _wrong_mask(image, mask, subject.values("inference"))


def _wrong_mask(image: Path, mask: Path, allowed: tuple[int, ...]) -> Iterator[Problem]:
    scan, found = nib.load(image), nib.load(mask)
    values = np.asarray(found.dataobj)
    if values.shape != scan.shape[:3]:
        cure = "add Invertd and AsDiscreted (argmax) before SaveImaged"
        yield Problem(f"the mask has the shape {values.shape}, the image {scan.shape[:3]}", cure, _FILE)
    elif not np.allclose(found.affine, scan.affine, atol=1e-3):
        yield Problem("the mask has another affine than the image", "add Invertd before SaveImaged", _FILE)
    if not np.isin(np.unique(values), allowed).all():
        shown = ", ".join(f"{value:g}" for value in np.unique(values)[:4])
        cure = "add AsDiscreted (argmax), and MapLabelValued after it where label_values have gaps"
        yield Problem(f"the mask holds {shown}, none but {', '.join(map(str, allowed))} are labels", cure, _FILE)
