"""Three real data sets as draws of labelled, validation and test cases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from probes import head_ct
from probes.adrenal import BOX, draw, read_shapes

from medtl_monai.ranking.target import Target, TargetCase

# Labelled, validation and test cases. Head CT has 140 slices, related ones in one group.
COUNTS = {"head_ct": (40, 30, 70), "adrenal": (60, 98, 298), "hippocampus": (8, 4, 10)}
TASKS = {"head_ct": "classification", "adrenal": "classification", "hippocampus": "segmentation"}
DIMS = {"head_ct": 2, "adrenal": 3, "hippocampus": 3}
CLASSES = {
    "head_ct": {0: "none", 1: "haemorrhage"},
    "adrenal": {0: "normal", 1: "hyperplasia"},
    "hippocampus": {0: "background", 1: "anterior", 2: "posterior"},
}


@dataclass(frozen=True)
class Draw:
    """The cases of one seed; no patient is in two parts."""

    labelled: Target
    validation: tuple[TargetCase, ...]
    test: tuple[TargetCase, ...]


def draw_cases(name: str, data: Path, work: Path, seed: int) -> Draw:
    """The draw of a seed. Images that are not files are written into ``work`` first."""
    parts = {"head_ct": _head_ct, "adrenal": _adrenal, "hippocampus": _hippocampus}[name](data, work, seed)
    labelled, validation, test = (tuple(part) for part in parts)
    return Draw(Target(TASKS[name], labelled, CLASSES[name], DIMS[name], 1), validation, test)  # type: ignore[arg-type]


def _head_ct(data: Path, work: Path, seed: int) -> list[list[TargetCase]]:
    slices = head_ct.read_slices(data / "head_ct_hemorrhage")
    folder = work / "head_ct"
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, label, group, image in zip(slices.names, slices.labels, slices.groups, slices.images, strict=True):
        path = folder / f"{name}.png"
        if not path.is_file():
            _whole(path, image.save)
        cases.append(TargetCase(name, f"g{group}", str(path), int(label)))
    order = np.random.default_rng(seed).permutation(np.unique(slices.groups))
    parts: list[list[TargetCase]] = [[], [], []]
    for group in order:
        own = [case for case in cases if case.patient == f"g{group}"]
        room = [count - len(part) for count, part in zip(COUNTS["head_ct"], parts, strict=True)]
        parts[int(np.argmax(np.divide(room, COUNTS["head_ct"])))] += own
    return parts


def _adrenal(data: Path, work: Path, seed: int) -> list[list[TargetCase]]:
    shapes = read_shapes(data / "adrenal_ct" / "adrenalmnist3d.npz")
    folder = work / "adrenal"
    folder.mkdir(parents=True, exist_ok=True)
    labelled = draw(shapes.labels, shapes.train, COUNTS["adrenal"][0], seed)

    def case(number: int) -> TargetCase:
        path = folder / f"a{number:04d}.nii.gz"
        if not path.is_file():
            box = shapes.masks[number, 0].numpy()[BOX]
            _whole(path, lambda place: nib.save(nib.Nifti1Image(box.astype(np.float32), np.eye(4)), place))
        return TargetCase(f"a{number:04d}", f"a{number:04d}", str(path), int(shapes.labels[number]))

    return [[case(int(number)) for number in part] for part in (labelled, shapes.validation, shapes.test)]


def _hippocampus(data: Path, work: Path, seed: int) -> list[list[TargetCase]]:
    split = json.loads((Path(__file__).parents[1] / "hippocampus_datalist.json").read_text())
    folder = data / "hippocampus_mri"
    rng, parts = np.random.default_rng(seed), []
    for part, count in zip(("training", "validation", "test"), COUNTS["hippocampus"], strict=True):
        names = sorted(row["case"] for row in split[part])
        chosen = rng if part == "training" else np.random.default_rng(0)
        parts.append(
            [
                TargetCase(
                    name, name, str(folder / "images" / f"{name}.nii.gz"), str(folder / "labels" / f"{name}.nii.gz")
                )
                for name in sorted(chosen.choice(names, count, replace=False).tolist())
            ]
        )
    return parts


def _whole(path: Path, save) -> None:  # type: ignore[no-untyped-def]
    """Write beside the place and move there: a killed run leaves no half image."""
    temporary = path.with_name(f"part-{path.name}")
    save(temporary)
    temporary.replace(path)


def labels_of(name: str, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, 64, 64)`` in [0, 1] and classes of a data set that own sources are trained on."""
    if name == "chest_xray":
        with np.load(data / "chest_xray" / "pneumoniamnist_train_val.npz") as stored:
            images, labels = stored["train_images"], stored["train_labels"].ravel()
        scaled = [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)) for image in images]
        return np.stack(scaled).astype(np.float32) / 255, labels.astype(np.int64)
    files = [
        (path, code) for code, folder in enumerate(sorted(_folders(data / name))) for path in sorted(folder.iterdir())
    ]
    pixels = [np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255 for path, _ in files]
    return np.stack(pixels), np.array([code for _, code in files])


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()]
