"""Synthetic hippocampus MR crops with known truth, as arrays, NIfTI cohorts and DICOM series.

The anatomy imitates the crops around the left hippocampus of the Medical Segmentation Decathlon (about 35 x 50 x 36
voxels of 1 mm, axes right, anterior, superior). It is drawn analytically; no patient contributed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy import ndimage

from medtl_monai.errors import ConfigError, OutputError

Contrast = Literal["source", "target"]
Shape = tuple[int, int, int]
Array = npt.NDArray[np.float32]

BACKGROUND, ANTERIOR, POSTERIOR = 0, 1, 2
NOMINAL_SHAPE = (35.0, 50.0, 36.0)  # median crop of the imitated data set, voxels of 1 mm
SHAPE_JITTER = (3, 4, 3)
MIN_EXTENT = 16  # below this the structures are thinner than a voxel
CURVE_POINTS = 48


@dataclass(frozen=True)
class HippocampusPhantom:
    """One synthetic crop: image (I, J, K) float32, label (I, J, K) uint8 (0, 1 anterior, 2 posterior), affine (4, 4).

    The affine maps voxel indices to RAS coordinates in mm; the array axes run to the right, anterior, superior.
    """

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Scanner:
    """Relative tissue signals and the faults of one sequence (blur in voxels, noise and bias relative to signal 1)."""

    csf: float
    hippocampus: float
    grey: float
    amygdala: float
    deep: float
    white: float
    vessel: float
    blur: float
    noise: float
    bias: float
    gain: tuple[float, float]


SCANNERS: dict[str, _Scanner] = {
    # T2-like: fluid brightest, white matter darkest.
    "source": _Scanner(1.00, 0.62, 0.66, 0.60, 0.50, 0.38, 0.15, blur=0.75, noise=0.055, bias=0.16, gain=(180, 420)),
    # T1-like: white matter brightest, fluid darkest.
    "target": _Scanner(0.14, 0.46, 0.47, 0.49, 0.68, 0.84, 1.30, blur=0.50, noise=0.04, bias=0.09, gain=(500, 1500)),
}


@dataclass(frozen=True)
class _Tube:
    """Every voxel seen from the centre line: place on it (0 tail .. 1 head), offsets and half axes, all in mm.

    ``medial`` and ``superior`` are the offsets from the line, ``beyond`` the way past its ends, ``width`` and
    ``height`` the half axes there; all of shape (I, J, K).
    """

    place: Array
    medial: Array
    superior: Array
    beyond: Array
    width: Array
    height: Array

    def depth(self, *, medial: float = 0.0, superior: float = 0.0, size: float = 1.0) -> Array:
        """Approximate signed distance (mm, negative inside) to the tube, shifted (in half axes) and scaled."""
        across = (self.medial / self.width - medial) ** 2 + (self.superior / self.height - superior) ** 2
        radius = np.sqrt(across + (self.beyond / self.height) ** 2)
        return ((radius - size) * np.minimum(self.width, self.height)).astype(np.float32)


def make_phantom(seed: int, *, contrast: Contrast = "target", shape: Shape | None = None) -> HippocampusPhantom:
    """Draw one crop; the same arguments give identical arrays.

    Pose, shape and surroundings depend on the seed alone: both contrasts of a seed show the same anatomy (and label).

    Args:
        seed: at least 0; stands for the subject.
        contrast: ``"target"`` is T1-like, ``"source"`` is T2-like with more noise, blur and bias.
        shape: voxels (I, J, K), each at least 16; the anatomy fills the crop. None draws about 35 x 50 x 36.

    Raises:
        ConfigError: unknown contrast, negative seed or too small a shape.
    """
    _check_request(seed, contrast, shape)
    anatomy = np.random.default_rng([seed, 0])
    drawn = tuple(int(n + anatomy.integers(-j, j + 1)) for n, j in zip(NOMINAL_SHAPE, SHAPE_JITTER, strict=True))
    grid = shape if shape is not None else (drawn[0], drawn[1], drawn[2])
    points = _anatomical_points(grid, anatomy)
    tube = _tube(points, anatomy)
    inside = tube.depth() < 0
    cut = anatomy.uniform(0.57, 0.65)
    label = np.where(inside, np.where(tube.place > cut, ANTERIOR, POSTERIOR), BACKGROUND).astype(np.uint8)
    signal = _paint(points, tube, SCANNERS[contrast], anatomy)
    affine = np.eye(4)
    affine[:3, 3] = np.round(anatomy.uniform((-48, -48, -30), (-38, -36, -20)), 2)  # left of the midline, RAS mm
    acquisition = np.random.default_rng([seed, 1 + sorted(SCANNERS).index(contrast)])
    return HippocampusPhantom(_acquire(signal, SCANNERS[contrast], acquisition), label, affine)


def write_cohort(
    folder: str | PathLike[str], seeds: Iterable[int], *, contrast: Contrast, prefix: str = "case"
) -> list[str]:
    """Write one NIfTI pair per seed: ``images/<case>.nii.gz`` (int16) and ``labels/<case>.nii.gz`` (uint8).

    Returns:
        The case names ``<prefix>_<seed, 4 digits>`` in the order of the seeds.

    Raises:
        ConfigError: as `make_phantom`.
        OutputError: a file is there already; nothing is written then.
    """
    seeds, root = list(seeds), Path(folder)
    cases = [f"{prefix}_{seed:04d}" for seed in seeds]
    there = [case for case in cases for kind in ("images", "labels") if (root / kind / f"{case}.nii.gz").exists()]
    if there:
        raise OutputError(
            "cases exist already", path=root, got=sorted(set(there)), remedy="choose an empty folder or another prefix"
        )
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for case, seed in zip(cases, seeds, strict=True):
        phantom = make_phantom(seed, contrast=contrast)
        for kind, voxels in (("images", _as_int16(phantom.image)), ("labels", phantom.label)):
            file = nib.Nifti1Image(voxels, phantom.affine)
            file.set_sform(phantom.affine, code=1)
            file.set_qform(phantom.affine, code=1)
            file.header.set_xyzt_units("mm")
            nib.save(file, root / kind / f"{case}.nii.gz")
    return cases


def write_dicom_series(phantom: HippocampusPhantom, folder: str | PathLike[str], *, seed: int) -> list[Path]:
    """Write the image as one coronal MR series, one file per slice from back to front; UIDs depend on the seed alone.

    Stored values are the image rounded to int16. The affine must be orthogonal (no shear).

    Returns:
        The files in the order of their instance numbers.

    Raises:
        OutputError: the folder holds files already (two series would mix).
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise OutputError("folder is not empty", path=root, expected="an empty folder for one DICOM series")
    voxels = _as_int16(phantom.image)
    files = []
    for j in range(voxels.shape[1]):
        # Radiological display: the first column is the patient's right, the first row the top of the head.
        pixels = np.ascontiguousarray(voxels[::-1, j, ::-1].T)
        dataset = _slice_dataset(phantom.affine, voxels.shape, j, seed)
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.astype("<i2").tobytes()
        files.append(root / f"IM{j + 1:04d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _check_request(seed: int, contrast: str, shape: Shape | None) -> None:
    if contrast not in SCANNERS:
        raise ConfigError("unknown contrast", expected=sorted(SCANNERS), got=contrast)
    if seed < 0:
        raise ConfigError("bad seed", expected="an integer of at least 0", got=seed)
    if shape is not None and (len(shape) != 3 or min(shape) < MIN_EXTENT):
        raise ConfigError("bad phantom shape", expected=f"three extents of at least {MIN_EXTENT} voxels", got=shape)


def _as_int16(image: Array) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(image), 0, np.iinfo(np.int16).max).astype(np.int16)


def _smooth(shape: tuple[int, ...], knots: int, rng: np.random.Generator) -> Array:
    """Smooth random field (I, J, K), about N(0, 1), that varies over 1/knots of the crop."""
    coarse = rng.standard_normal((knots, knots, knots)).astype(np.float32)
    return ndimage.zoom(coarse, [n / knots for n in shape], order=2, mode="nearest", grid_mode=True)


def _anatomical_points(shape: Shape, rng: np.random.Generator) -> Array:
    """Voxel centres in anatomical mm around the crop's centre, (3, I, J, K): random rotation, size, shift and warp."""
    steps = [((np.arange(n) + 0.5) / n - 0.5) * nominal for n, nominal in zip(shape, NOMINAL_SHAPE, strict=True)]
    points = np.stack(np.meshgrid(*steps, indexing="ij")).astype(np.float32)
    rotation = np.eye(3)
    for axis, degrees in enumerate(rng.normal(0, (6, 5, 5))):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[a, a], turn[b, b], turn[a, b], turn[b, a] = c, c, -s, s
        rotation = turn @ rotation
    scale = rng.uniform(0.93, 1.12, size=3) * rng.uniform(0.95, 1.05)
    matrix = (rotation / scale).astype(np.float32)
    warp = np.stack([_smooth(shape, 5, rng) for _ in range(3)])
    shift = rng.normal(0, 0.8, size=(3, 1, 1, 1)).astype(np.float32)
    return np.einsum("ab,b...->a...", matrix, points) + np.float32(0.9) * warp + shift


def _tube(points: Array, rng: np.random.Generator) -> _Tube:
    """The hippocampus' centre line, from the tail (back, top) to the head (front, bottom), seen from every voxel."""
    t = np.linspace(0, 1, CURVE_POINTS)
    bend, droop, hook = rng.normal((4.0, 2.0, 5.5), (1.0, 1.0, 1.0))
    line = np.stack(
        [3 * (1 - t) ** 3 - bend * np.sin(np.pi * t) + hook * t**3 - 2, 30 * t - 15.5, 10.5 - 19 * t], axis=1
    )
    line[:, 2] -= droop * np.sin(np.pi * t) * (1 - t)
    body, head = rng.uniform(0.85, 1.10, size=2)
    width = body * np.interp(t, [0, 0.15, 0.5, 0.8, 1], [3.6, 4.7, 5.6, 7.2, 6.4]) * np.interp(t, [0.5, 0.8], [1, head])
    height = body * np.interp(t, [0, 0.15, 0.5, 0.8, 1], [2.8, 3.2, 3.5, 4.8, 4.4])
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0]) - along[:, 2:] * along
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    across = np.cross(along, up)
    flat = points.reshape(3, -1).T
    curve = line.astype(np.float32)
    nearest = np.argmin((curve**2).sum(1) - 2 * flat @ curve.T, axis=1)
    offset = flat - curve[nearest]
    ahead = np.abs((offset * along[nearest]).sum(1))
    ends = (nearest == 0) | (nearest == CURVE_POINTS - 1)
    columns = (
        t[nearest],
        (offset * across[nearest]).sum(1),
        (offset * up[nearest]).sum(1),
        np.where(ends, ahead, 0),
        width[nearest],
        height[nearest],
    )
    return _Tube(*(np.asarray(column, np.float32).reshape(points.shape[1:]) for column in columns))


def _paint(points: Array, tube: _Tube, scanner: _Scanner, rng: np.random.Generator) -> Array:
    """Noise-free relative signal (I, J, K): every tissue laid over the one before it with soft (1 mm) edges."""
    x, y, z = points
    signal = np.full(x.shape, scanner.white, np.float32)

    def lay(depth: Array, value: float) -> None:
        share = np.clip(0.5 - depth, 0, 1)
        signal[...] += share * (value - signal)

    def ellipsoid(centre: tuple[float, ...], axes: tuple[float, ...], jitter: float) -> Array:
        c = np.asarray(centre) + rng.normal(0, jitter, size=3)
        a = np.asarray(axes) * rng.uniform(0.88, 1.14, size=3)
        radius = np.sqrt(((x - c[0]) / a[0]) ** 2 + ((y - c[1]) / a[1]) ** 2 + ((z - c[2]) / a[2]) ** 2)
        return ((radius - 1) * a.min()).astype(np.float32)

    lay(ellipsoid((2, 3, 15), (15, 14, 8), 1.5), scanner.deep)
    lay(ellipsoid((-9, 9, 11), (2.2, 9, 6), 1.2), scanner.grey)  # striatum-like stripe
    phase, waves = rng.uniform(0, 2 * np.pi, size=3), rng.uniform((13, 11), (19, 16))
    fold = 1.6 * np.sin(2 * np.pi * y / waves[0] + phase[0]) + 1.3 * np.sin(2 * np.pi * x / waves[1] + phase[1])
    fold += 1.5 * _smooth(x.shape, 4, rng)
    ridge = np.sin(2 * np.pi * (tube.superior + fold) / rng.uniform(9, 12) + phase[2])
    below = tube.superior + tube.height + rng.uniform(1.2, 2.5)
    lay(np.maximum(below, -2.2 * (ridge + 0.05)), scanner.grey)  # folded cortex
    gap = 0.95 - 0.25 * _smooth(x.shape, 4, rng)  # sulci open in places only
    lay(np.maximum(below, -2.2 * (ridge - gap)), scanner.csf)
    stem = ellipsoid((19, -3, -7), (9, 10, 13), 1.5)
    lay(stem - 2.0 - 1.6 * _smooth(x.shape, 4, rng), scanner.csf)  # cistern of varying width
    lay(stem, (scanner.deep + 2 * scanner.white) / 3)
    lay(tube.depth(medial=0.75, superior=-0.75, size=0.85), scanner.grey)  # parahippocampal cortex, no visible border
    horn = tube.depth(medial=rng.uniform(-0.45, -0.15), superior=rng.uniform(0.15, 0.50), size=rng.uniform(0.95, 1.15))
    lay(np.maximum(horn, 12 * (rng.uniform(0.2, 0.45) - tube.place)), scanner.csf)  # temporal horn of the ventricle
    lay(ellipsoid((3, 17, 0), (8, 6.5, 6), 1.2), scanner.amygdala)
    lay(ellipsoid((4, -20, 13), (6, 5, 5), 1.5), scanner.grey)  # isthmus behind the tail
    lay(tube.depth(), scanner.hippocampus)
    stripe = np.abs(tube.superior - 0.35 * tube.height) - 0.1
    lay(np.maximum(tube.depth(size=0.7), stripe), 0.7 * scanner.hippocampus + 0.3 * scanner.white)
    for spot in rng.uniform((4, -12, -14), (14, 14, 6), size=(5, 3)):
        lay(ellipsoid(tuple(spot), (1.0, 1.6, 1.0), 0.0), scanner.vessel)
    return signal


def _acquire(signal: Array, scanner: _Scanner, rng: np.random.Generator) -> Array:
    """What the scanner makes of it: tissue texture, point spread, bias field, Rician noise and an arbitrary gain."""
    texture = ndimage.gaussian_filter(rng.standard_normal(signal.shape).astype(np.float32), 1.0)
    image = signal * (1 + 0.25 * texture)
    image = ndimage.gaussian_filter(image, scanner.blur * rng.uniform(0.85, 1.2))
    image = image * np.exp(scanner.bias * _smooth(signal.shape, 2, rng))
    real, imaginary = rng.standard_normal((2, *signal.shape)).astype(np.float32) * np.float32(scanner.noise)
    return (rng.uniform(*scanner.gain) * np.hypot(image + real, imaginary)).astype(np.float32)


def _slice_dataset(affine: npt.NDArray[np.float64], shape: tuple[int, ...], j: int, seed: int) -> Dataset:
    """One coronal slice without its pixels; geometry in LPS mm, type 2 attributes present and empty."""
    uids = {kind: generate_uid(entropy_srcs=["phantom", str(seed), kind]) for kind in ("study", "series", "frame")}
    instance = generate_uid(entropy_srcs=["phantom", str(seed), "instance", str(j)])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    to_lps = np.array([-1.0, -1.0, 1.0])
    corner = (affine @ [shape[0] - 1, j, shape[2] - 1, 1])[:3] * to_lps
    rows, columns = (-affine[:3, axis] / spacing[axis] * to_lps for axis in (0, 2))
    empty = "StudyTime AccessionNumber ReferringPhysicianName PatientBirthDate PositionReferenceIndicator Laterality"
    values: dict[str, object] = dict.fromkeys(empty.split(), "") | {
        "SOPClassUID": MRImageStorage, "SOPInstanceUID": instance, "StudyInstanceUID": uids["study"],
        "SeriesInstanceUID": uids["series"], "FrameOfReferenceUID": uids["frame"], "Modality": "MR",
        "PatientName": "PHANTOM^SYNTHETIC", "PatientID": f"PHANTOM-{seed:04d}", "PatientSex": "O",
        "StudyDate": "20000101", "StudyID": str(seed), "SeriesNumber": 1, "InstanceNumber": j + 1,
        "ImageType": ["DERIVED", "PRIMARY", "OTHER"], "Manufacturer": "synthetic phantom", "PatientPosition": "HFS",
        "SeriesDescription": "synthetic hippocampus, coronal", "BurnedInAnnotation": "NO", "BodyPartExamined": "BRAIN",
        "ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": "", "MRAcquisitionType": "3D",
        "RepetitionTime": "", "EchoTime": "", "EchoTrainLength": "",
        "ImagePositionPatient": [f"{v:.9g}" for v in corner],
        "ImageOrientationPatient": [f"{v:.9g}" for v in (*rows, *columns)],
        "PixelSpacing": [f"{spacing[2]:.9g}", f"{spacing[0]:.9g}"], "SliceThickness": f"{spacing[1]:.9g}",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "US",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
