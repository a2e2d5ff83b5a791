"""Scans and labels made from what metadata declare: no anatomy, but every class, on a grid that is not RAS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medtl_monai.bundle.doctor.subject import Subject, components, follow
from medtl_monai.bundle.lint_nodes import Node

TRAINING, VALIDATION = 4, 2
_SMALLEST = {2: 48, 3: 24}  # voxels along an axis
_LARGEST = 192
_INFERRED = 2  # images that inference gets


@dataclass(frozen=True)
class Cases:
    """Files of a synthetic cohort.

    Attributes:
        folder: holds ``images`` and, for a segmentation, ``labels``.
        images: files.
        labels: file of the mask, or number of the class, of each image.
    """

    folder: Path
    images: tuple[Path, ...]
    labels: tuple[Path | int, ...]

    def pairs(self) -> list[dict[str, str | int]]:
        """``image`` and ``label`` of every case."""
        rows = zip(self.images, self.labels, strict=True)
        return [{"image": str(image), "label": one if isinstance(one, int) else str(one)} for image, one in rows]

    @property
    def training(self) -> list[dict[str, str | int]]:
        """The pairs to train on."""
        return self.pairs()[:TRAINING]

    @property
    def validation(self) -> list[dict[str, str | int]]:
        """The other pairs."""
        return self.pairs()[TRAINING:]

    @property
    def inference(self) -> list[dict[str, str]]:
        """Images alone."""
        return [{"image": str(path)} for path in self.images[:_INFERRED]]


def make_cases(subject: Subject, folder: Path, as_masks: bool = False) -> Cases:
    """Write a cohort for a bundle: NIfTI for volumes, else PNG; ``as_masks``: of images that are 0 or 1.

    Raises:
        ValueError: metadata declare no shape that can be evaluated, or pictures of another number of channels than
            one or three.
    """
    size = scan_size(subject)
    kinds = ("images", "labels") if subject.task == "segmentation" else ("images",)
    for name in kinds:
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[Path] = []
    labels: list[Path | int] = []
    values = np.array(subject.values("train"))
    classes = len(values) if subject.task == "segmentation" else max(2, subject.channels("outputs"))
    for number in range(TRAINING + VALIDATION):
        rng = np.random.default_rng(number)
        mask = _mask(size, classes, rng)
        kind = number % classes
        shown = mask if subject.task == "segmentation" else np.where(mask > 0, kind, 0)
        name = f"case_{number}{'.nii.gz' if len(size) == 3 else '.png'}"
        image = _ball(size, 0.4 + 0.4 * kind / classes) if as_masks else _image(shown, subject, rng)
        images.append(_write(folder / "images" / name, image, subject))
        if subject.task == "segmentation":
            labels.append(_write(folder / "labels" / name, _least(values)[mask], subject))
        else:
            labels.append(kind)
    return Cases(folder, tuple(images), tuple(labels))


def scan_size(subject: Subject) -> tuple[int, ...]:
    """Size in voxels: what metadata declare, what crops of the training need, and a little difference of the axes."""
    declared = subject.shape()
    if len(declared) == 2 and takes_volumes(subject):
        declared = (*declared, 1)  # a network of two axes that goes through a volume slice by slice
    dims = len(declared)
    least = [max(size, _SMALLEST[dims]) for size in declared]
    for crop in _crops(subject, dims):
        least = [max(size, other) for size, other in zip(least, crop, strict=True)]
    return tuple(min(size + 2 * axis, _LARGEST) for axis, size in enumerate(least))


def takes_volumes(subject: Subject) -> bool:
    """Whether a bundle reads volumes: its network has three axes, or its images are oriented, or no pictures."""
    kinds, pictures = _kinds(subject)
    oriented = any(name.lower().startswith("orientation") for _, _, name in _components(subject))
    return len(subject.shape()) == 3 or oriented or ("nifti" in kinds and not pictures)


def reads_pictures_alone(subject: Subject) -> bool:
    """Whether metadata name PNG, JPEG or TIFF as the kinds of data, and none that a volume comes in."""
    kinds, pictures = _kinds(subject)
    others = any(word in kinds for word in ("dicom", "nifti", "nrrd", "numpy", "mha"))
    return pictures and not others and not takes_volumes(subject)


def _kinds(subject: Subject) -> tuple[str, bool]:
    kinds = str(subject.metadata.get("data_type", "")).lower()
    return kinds, any(word in kinds for word in ("png", "jp", "tif"))


def _components(subject: Subject) -> Iterator[tuple[Node, Node, str]]:
    """Configuration, component and its name, those of the training first."""
    for root in (subject.program("train"), subject.program("inference")):
        for node, name in components(root) if root is not None else ():
            yield root, node, name  # type: ignore[misc]


def _crops(subject: Subject, dims: int) -> Iterator[list[int]]:
    for root, node, name in _components(subject):
        if "Crop" not in name:
            continue
        size = follow(root, node.child("spatial_size") or node.child("roi_size"))
        values = [child.value for _, child in size.children()] if size is not None else []
        if len(values) == dims and all(type(one) is int for one in values):
            yield [int(one) for one in values]  # type: ignore[arg-type]


def spacing_of(subject: Subject) -> tuple[float, ...]:
    """Voxel size, mm: that which preprocessing resamples to, so that the size in voxels stays; else 1 mm."""
    for root, node, name in _components(subject):
        pixdim = follow(root, node.child("pixdim")) if name.startswith("Spacing") else None
        values = [child.value for _, child in pixdim.children()] if pixdim is not None else []
        if len(values) == 3 and all(isinstance(one, int | float) and one > 0 for one in values):
            return tuple(float(one) for one in values)  # type: ignore[arg-type]
    return (1.0, 1.0, 1.0)


def _mask(size: tuple[int, ...], classes: int, rng: np.random.Generator) -> np.ndarray:
    """A ball cut into slabs along the first axis, one per class; 0 outside."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, length) for length in size), indexing="ij"))
    centre = rng.uniform(-0.1, 0.1, len(size)).reshape(-1, *[1] * len(size))
    inside = ((grid - centre) ** 2).sum(0) < 0.36
    slab = np.clip(((grid[0] - centre[0] + 0.6) / 1.2 * (classes - 1)).astype(int), 0, classes - 2)
    return np.where(inside, slab + 1, 0)


def _least(values: np.ndarray) -> np.ndarray:
    """The values in the smallest unsigned type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max())))


def _ball(size: tuple[int, ...], radius: float) -> np.ndarray:
    """1 inside, 0 outside; of radius 1 it touches the faces."""
    squares = np.meshgrid(*(np.linspace(-1, 1, length) ** 2 for length in size), indexing="ij")
    return (np.sum(squares, axis=0) < radius**2).astype(np.uint8)


def is_ct(subject: Subject) -> bool:
    """Whether volumes are in HU, by what metadata say of the modality."""
    tensor = subject.tensor("inputs")
    return "CT" in (subject.metadata.get("modality"), tensor.get("modality")) or tensor.get("format") == "hounsfield"


def _image(mask: np.ndarray, subject: Subject, rng: np.random.Generator) -> np.ndarray:
    """Channels last (left out if there is one): HU for CT volumes, else values from 0 to 1000; pictures to 255."""
    channels = subject.channels("inputs")
    noise = rng.normal(0, 1, (*mask.shape, channels))
    body = _ball(mask.shape, 1.0)[..., None] > 0
    if mask.ndim == 2:
        image = np.where(body, np.clip(80 + 60 * mask[..., None] + 10 * noise, 30, 255), 0).astype(np.uint8)
    elif is_ct(subject):
        image = np.where(body, 40 + 60 * mask[..., None] + 10 * noise, -1000).astype(np.int16)
    else:
        image = np.where(body, 300 + 150 * mask[..., None] + 10 * noise, 20).astype(np.int16)
    return image[..., 0] if channels == 1 else image


def _write(path: Path, array: np.ndarray, subject: Subject) -> Path:
    if path.suffix == ".png":
        if array.ndim == 3 and array.shape[2] != 3:
            raise ValueError(f"pictures with {array.shape[2]} channels are not made")
        Image.fromarray(array).save(path)
        return path
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*spacing_of(subject), 1.0])  # first axis to the left
    affine[:3, 3] = (12.0, -7.0, 30.0)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path
