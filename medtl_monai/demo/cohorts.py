"""The data of the demo: synthetic phantoms, or the Medical Segmentation Decathlon hippocampus task."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtl_monai.data.datalist import Datalist, make_datalist
from medtl_monai.data.phantom import make_phantom, write_cohort, write_dicom_series
from medtl_monai.errors import ConfigError

LABELS = {0: "background", 1: "anterior hippocampus", 2: "posterior hippocampus"}
MSD_TASK = "Task04_Hippocampus"


@dataclass(frozen=True)
class DemoData:
    """What the demo trains on and predicts.

    Attributes:
        description: one sentence for the report.
        target: dataset folder with the few labelled cases.
        datalist: its split into training, validation and test.
        source_cohort: dataset folder to train a source model on, or None when ``source`` is ready.
        source: value of the bundle's ``source`` knob, when there is nothing to train.
        scan: DICOM series folder (or NIfTI file) to predict.
        scan_truth: label map of the scan ``(H, W, D)`` on the scan's RAS grid, where it is known.
    """

    description: str
    target: Path
    datalist: Path
    source_cohort: Path | None
    source: str
    scan: Path
    scan_truth: np.ndarray | None


def phantom_data(folder: Path) -> DemoData:
    """Make a source cohort (24 phantoms) and a target cohort (4 + 2 + 8) of another scanner, and one DICOM series."""
    source, target, scan = folder / "source", folder / "target", folder / "dicom_series"
    write_cohort(source, range(1000, 1024), contrast="source", prefix="source")
    make_datalist(source, validation=0.1, test=0.0, label_names=LABELS).save(source / "datalist.json")
    write_cohort(target, range(14), contrast="target", prefix="target")
    datalist = make_datalist(target, validation=2 / 14, test=8 / 14, label_names=LABELS)
    datalist.save(target / "datalist.json")
    phantom = make_phantom(500, contrast="target")
    write_dicom_series(phantom, scan, seed=500)
    return DemoData(
        description="Synthetic MR phantoms with known truth: a source scanner with 22 labelled training cases, and a "
        "target scanner of another contrast, noise and bias field with few.",
        target=target,
        datalist=target / "datalist.json",
        source_cohort=source,
        source="",
        scan=scan,
        scan_truth=phantom.label,
    )


def hippocampus_data(folder: Path, say: Callable[[str], None]) -> DemoData:
    """The hippocampus task of the Medical Segmentation Decathlon, from ``MEDTL_DATA`` or downloaded by MONAI."""
    shared = Path(os.environ["MEDTL_DATA"]) if os.environ.get("MEDTL_DATA") else None
    if shared is not None and not (shared / "hippocampus_mri" / "images").is_dir():
        raise ConfigError(
            "MEDTL_DATA holds no hippocampus data",
            path=shared,
            expected="hippocampus_mri/images and hippocampus_mri/labels",
            remedy="unset MEDTL_DATA to download the data",
        )
    target = shared / "hippocampus_mri" if shared is not None else _download(folder, say)
    full = make_datalist(target, validation=0.1, test=0.2, seed=0, label_names=LABELS)
    small = Datalist(
        labels=full.labels,
        splits={
            "training": full.splits["training"],
            "validation": full.splits["validation"][:4],
            "test": full.splits["test"][:12],
        },
        seed=full.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    small.save(folder / "datalist.json")
    series = shared / "brain_mr_dicom" / "hippocampus_crop" if shared is not None else None
    scan = series if series is not None and series.is_dir() else target / small.splits["test"][0].image
    return DemoData(
        description="Medical Segmentation Decathlon Task04 (T1-weighted MR crops of the hippocampus, CC-BY-SA 4.0): "
        "few labelled training cases, 4 validation and 12 test cases.",
        target=target,
        datalist=folder / "datalist.json",
        source_cohort=None,
        source="highres3dnet_gif",
        scan=scan,
        scan_truth=None,
    )


def _download(folder: Path, say: Callable[[str], None]) -> Path:
    from medtl_monai.demo.decathlon import download_task

    return download_task(MSD_TASK, folder, say)
