"""What the MedicalNet weights were trained on: the preprocessing of the paper, and that of the published code."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import CropForegroundd, Lambdad, MapTransform, Orientationd, Spacingd
from monai.utils import ensure_tuple

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.lookup import look_up
from medtl_monai.transforms.intensity import clipped_zscore, like, to_array
from medtl_monai.transforms.names import case_of, unchanged
from medtl_monai.transforms.zoom import ZoomNearestd

Crop = Literal["exact", "published", "none"]
AXES = "SAR"  # the published arrays run slice, row, column: nibabel's (x, y, z), reversed
DEMO_SIZE = (56, 448, 448)


def medicalnet_paper(
    keys: KeysCollection, spacing: Sequence[float] | None = None, *, label_keys: KeysCollection = ()
) -> list[MapTransform]:
    """The preprocessing that the Med3D paper (arXiv:1904.00625) describes.

    Axes to S, A, R; resampling, if a spacing is given (trilinear, labels by nearest voxel); then, for each channel,
    clipping to the 0.5th and 99.5th percentile and zero mean, unit variance over the whole volume.

    Args:
        keys: images ``(C, H, W, D)`` with an affine in RAS+ mm.
        spacing: voxel size in mm along S, A and R; the paper takes the median of the data set.
        label_keys: labels that follow the images in space.

    When it runs, it raises IntensityError where the two percentiles of a channel are equal.

    Raises:
        ConfigError: the spacing is not three positive lengths.
    """
    images, labels = ensure_tuple(keys), ensure_tuple(label_keys)
    chain: list[MapTransform] = [_oriented(images + labels)]
    if spacing is not None:
        if len(spacing) != 3 or min(spacing) <= 0:
            raise ConfigError("no such voxel size", expected="3 positive lengths in mm (S, A, R)", got=tuple(spacing))
        mode = ("bilinear",) * len(images) + ("nearest",) * len(labels)
        chain.append(Spacingd(images + labels, pixdim=tuple(spacing), mode=mode))
    return [*chain, Lambdad(images, clipped_zscore)]


def medicalnet_demo(
    keys: KeysCollection,
    size: Sequence[int] = DEMO_SIZE,
    seed: int = 0,
    *,
    crop: Crop = "exact",
    label_keys: KeysCollection = (),
) -> list[MapTransform]:
    """The preprocessing of MedicalNet's published code, for values >= 0 such as MR (its random crop left out).

    Axes to S, A, R; crop to the bounding box of the voxels that differ from the corner voxel; zoom to a fixed size
    with the nearest voxel (also for the image); each channel: mean and standard deviation of the voxels above 0,
    and standard normal noise where it is exactly 0. The published noise differs from run to run; here it follows
    from the seed and the image, so that a case always gets the same.

    Args:
        keys: images ``(C, H, W, D)`` with an affine in RAS+ mm; the first one decides the box for all.
        size: voxels along S, A and R.
        seed: seed of the noise.
        crop: "exact": the box holds every such voxel; "published": without its last slice along each axis, as the
            published training code cuts it; "none": whole volume, as the published test code does.
        label_keys: labels that follow the images in space.

    When it runs, it raises IntensityError on negative values, on a constant image, and on an image without at
    least two different values above 0.

    Raises:
        ConfigError: an unknown kind of crop, or no such size.
    """
    images, labels = ensure_tuple(keys), ensure_tuple(label_keys)
    select = look_up(_FOREGROUNDS, crop, "kind of crop")
    return [
        Lambdad(images, require_non_negative),
        _oriented(images + labels),
        *([_cropped(images[0], images + labels, select)] if select else []),
        ZoomNearestd(images + labels, size),
        Lambdad(images, partial(normalise_as_demo, seed=seed)),
    ]


def _oriented(keys: tuple[Hashable, ...]) -> Orientationd:
    return Orientationd(keys, axcodes=AXES)


def _cropped(source: Hashable, keys: tuple[Hashable, ...], select: object) -> CropForegroundd:
    return CropForegroundd(keys, source_key=source, select_fn=select, start_coord_key=None, end_coord_key=None)


def require_non_negative(image: torch.Tensor) -> torch.Tensor:
    """The image as it is. Raises IntensityError where it has negative values, as CT in HU has."""
    low = float(image.min())
    if low < 0:
        raise IntensityError(
            "the demo preprocessing takes voxels above 0 for the body and 0 for the background",
            case=case_of(image),
            expected="values >= 0",
            got=f"values down to {low:g}: air, lung and fat of a CT in HU would not count",
            remedy="use 'medicalnet_paper', or scale to [0, 1] by a CT window first",
        )
    return unchanged(image)


def differs_from_corner(image: torch.Tensor) -> torch.Tensor:
    """Which voxels of ``(C, H, W, D)`` differ from the first of their channel. Raises IntensityError if none does."""
    corner = image.reshape(image.shape[0], -1)[:, 0]
    found = torch.as_tensor(image != corner.reshape(-1, *[1] * (image.ndim - 1)))
    if not found.any():
        raise IntensityError(
            "a constant image has no foreground",
            case=case_of(image),
            expected="voxels that differ from the corner voxel",
            got=f"{float(corner[0]):g} everywhere",
        )
    return found


def published_foreground(image: torch.Tensor) -> torch.Tensor:
    """The box of :func:`differs_from_corner` without its last slice along each axis: the published off-by-one.

    Raises:
        IntensityError: nothing differs from the corner voxel, or the box is one voxel thin: nothing would be left.
    """
    found = differs_from_corner(image).any(0)
    box = torch.zeros(image.shape, dtype=torch.bool)
    bounds = [(int(where.min()), int(where.max())) for where in found.nonzero(as_tuple=True)]
    if any(first == last for first, last in bounds):
        raise IntensityError(
            "the published crop would leave nothing of a foreground one voxel thin",
            case=case_of(image),
            expected="at least 2 voxels along every axis",
            got=" x ".join(str(last - first + 1) for first, last in bounds),
            remedy="crop='exact'",
        )
    box[(slice(None), *(slice(first, last) for first, last in bounds))] = True
    return box


_FOREGROUNDS = {"exact": differs_from_corner, "published": published_foreground, "none": None}


def normalise_as_demo(image: torch.Tensor, seed: int) -> torch.Tensor:
    """Each channel of ``(C, H, W, D)`` minus the mean, by the standard deviation, of its values > 0; 0 becomes noise.

    The noise is standard normal and depends on the seed and on the image itself. The result is float32.

    Raises:
        IntensityError: a channel has no two different values above 0.
    """
    values = to_array(image)
    content = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=8).digest()
    generator = np.random.default_rng([seed, int.from_bytes(content, "little"), *values.shape])
    for channel in values:
        body = channel[channel > 0].astype(np.float64)
        if body.size == 0 or body.min() == body.max():
            raise IntensityError(
                "no mean and standard deviation of the voxels above 0",
                case=case_of(image),
                expected="different values above 0",
                got=f"{body.size} voxels above 0" + (f", all {body[0]:g}" if body.size else ""),
            )
        background = channel == 0
        channel[...] = (channel - body.mean()) / body.std()
        channel[background] = generator.standard_normal(int(background.sum()))
    return like(values, image)
