"""One scan through an exported bundle: its own reader, preprocessing, inferer and postprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose, LoadImaged
from numpy.typing import NDArray

from medtl_monai.deploy.exported import Exported
from medtl_monai.errors import ConfigError, DataError, FormatError, MedTLError
from medtl_monai.io.dicom_files import is_dicom, scan_folder
from medtl_monai.io.dicom_header import SliceHeader, read_slice_header
from medtl_monai.io.reader import VolumeReader

READER = "medtl_monai.io.reader.VolumeReader"


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map on the grid of its scan.

    Attributes:
        labels: (I, J, K) uint8.
        affine: (4, 4), RAS+ mm, of the scan.
        case: name without patient.
        slices: headers of the scan's DICOM files, in no order; empty for NIfTI.
    """

    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    case: str
    slices: tuple[SliceHeader, ...]


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of a case by class, in the order of the classes; they sum to 1."""

    case: str
    values: Mapping[str, float]


def segment(exported: Exported, scan: Path) -> Mask:
    """The mask of a NIfTI file, a DICOM file or a folder with one DICOM series.

    Raises:
        ConfigError: the bundle is of another task or does not read with `VolumeReader`.
        DataError: a scan that cannot be trusted, of another modality, or a mask off its grid.
    """
    run = _run(exported, scan, "segmentation")
    labels = run.pred
    if labels.shape != (1, *run.shape):
        raise DataError(
            "the mask is not on the grid of the scan",
            case=run.case,
            expected=(1, *run.shape),
            got=labels.shape,
            remedy="postprocessing needs Invertd and AsDiscreted (argmax)",
        )
    foreign = sorted({float(value) for value in np.unique(labels)} - set(exported.classes))
    if foreign:
        raise DataError("the mask has unknown values", case=run.case, expected=list(exported.classes), got=foreign[:5])
    return Mask(labels[0].astype(np.uint8), run.affine, run.case, run.slices)


def classify(exported: Exported, scan: Path) -> Probabilities:
    """The class probabilities of an image of any kind that `VolumeReader` reads.

    Raises:
        ConfigError: the bundle is of another task or does not read with `VolumeReader`.
        DataError: an image that cannot be trusted, of another modality, or an output that is no probabilities.
    """
    run = _run(exported, scan, "classification")
    values, names = run.pred.astype(np.float64), list(exported.classes.values())
    if values.shape != (len(names),) or not (values >= 0).all() or abs(values.sum() - 1) > 1e-4:
        raise DataError("no probabilities", case=run.case, expected=f"{len(names)}, summing to 1", got=values.tolist())
    return Probabilities(run.case, {name: float(value) for name, value in zip(names, values, strict=True)})


@dataclass(frozen=True, eq=False)
class _Run:
    """Name and grid of what was read, its DICOM headers, and the postprocessed output."""

    case: str
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    slices: tuple[SliceHeader, ...]
    pred: NDArray[np.generic]


def _run(exported: Exported, scan: Path, task: str) -> _Run:
    if exported.task != task:
        raise ConfigError("the bundle is of another task", expected=task, got=f"{exported.name}: {exported.task}")
    slices = dicom_slices(scan)
    _require_modality(exported, slices, scan)
    before, after = (_composed(exported, name) for name in ("preprocessing", "postprocessing"))
    _require_strict_reader(before)
    with _own_errors():
        given = before({"image": str(scan)}, end=1)
    meta = given["image"].meta  # taken now: the next steps change it
    case, shape = str(meta["case"]), tuple(int(size) for size in meta["spatial_shape"])
    affine = np.array(meta["original_affine"], dtype=np.float64)
    inferer = exported.parser.get_parsed_content("inferer")
    with _own_errors(), torch.no_grad():
        given = before(given, start=1)
        given["pred"] = inferer(given["image"][None].to(exported.device), exported.network)[0]
        pred = after(given)["pred"]
    return _Run(case, shape, affine, slices, np.asarray(pred.cpu()))


@contextmanager
def _own_errors() -> Iterator[None]:
    """MONAI raises a RuntimeError around whatever a transform raises; give back what was raised on purpose."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MedTLError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


def dicom_slices(scan: Path) -> tuple[SliceHeader, ...]:
    """Headers of the DICOM images at a path; empty for files of other kinds.

    Raises:
        FormatError: nothing at this path, a folder without DICOM images, or damaged headers.
    """
    if scan.is_dir():
        return tuple(scan_folder(scan)[0])
    if not scan.is_file():
        raise FormatError("nothing to read", path=scan, expected="a scan", remedy="check the path")
    return (read_slice_header(scan),) if is_dicom(scan) else ()


def _require_modality(exported: Exported, slices: tuple[SliceHeader, ...], scan: Path) -> None:
    found = sorted({header.modality or "none" for header in slices})
    if exported.modality and found not in ([], [exported.modality]):
        raise DataError(
            "the scan is of another modality",
            path=scan,
            expected=f"{exported.modality}, for {exported.name}",
            got=", ".join(found),
            remedy="choose the series, or the bundle, that fits",
        )


def _composed(exported: Exported, name: str) -> Compose:
    """The steps without those that save; the operators after this one write."""
    found = exported.parser.get_parsed_content(name)
    if not isinstance(found, Compose):
        raise ConfigError(f"{name} is no Compose", got=type(found).__name__)
    saving = [step for step in found.transforms if type(step).__name__.startswith("SaveImage")]
    return Compose([step for step in found.transforms if step not in saving]) if saving else found


def _require_strict_reader(before: Compose) -> None:
    first = before.transforms[0]
    strict = isinstance(first, LoadImaged) and any(isinstance(one, VolumeReader) for one in first._loader.readers)
    if not strict:
        remedy = f'begin with {{"_target_": "LoadImaged", "keys": "image", "reader": "{READER}"}}'
        raise ConfigError("the bundle does not read strictly", got=type(first).__name__, remedy=remedy)
