"""Images as a source's network expects them, and voxels that are the same ones for every source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from scipy.ndimage import distance_transform_edt

from medtl_monai.errors import DataError, MedTLError
from medtl_monai.io.reader import VolumeReader, read_volume
from medtl_monai.lookup import look_up
from medtl_monai.networks.encoder import Encoder
from medtl_monai.transforms.network_input import intensity_for, orientation_for

SIDE = 224  # pixels of a 2D image to be classified: what the ImageNet networks were trained on
LONGEST_AXIS = 80  # voxels of the window of a volume, which bounds the memory of full-resolution networks
PER_CLASS = 60  # voxels of each class in a case
NEAR = 4  # voxels from the foreground; half of the background is taken from there, where it is hard to tell

_LOAD = {
    colour: Compose([LoadImage(reader=VolumeReader, colour=colour), EnsureChannelFirst()])
    for colour in ("refuse", "luminance")
}


def read_image(path: str, case: str, colour: str = "refuse") -> torch.Tensor:
    """An image ``(C, H, W[, D])`` as stored, with its affine; pictures in colour are refused or made grey.

    Raises:
        DataError: it cannot be read; names the case.
    """
    if not Path(path).exists():
        raise DataError("no such image", case=case, path=path)
    load = look_up(_LOAD, colour, "treatment of colours")
    try:
        return load(path)
    except RuntimeError as error:  # MONAI's wrapping of the reader's refusal
        if isinstance(error.__cause__, MedTLError):
            raise error.__cause__ from None
        raise


def prepared(path: str, case: str, encoder: Encoder, colour: str = "refuse") -> torch.Tensor:
    """An image with the orientation and the intensities that an encoder expects.

    Raises:
        DataError: it cannot be read or prepared, or has the wrong number of axes; names the case.
    """
    image = read_image(path, case, colour)
    while image.ndim - 1 > encoder.spatial_dims and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim - 1 != encoder.spatial_dims or image.shape[0] != encoder.in_channels:
        raise DataError(
            "this image is not like the first one",
            case=case,
            expected=f"{encoder.in_channels} channels, {encoder.spatial_dims} axes",
            got=f"{image.shape[0]} channels, shape {tuple(image.shape[1:])}",
        )
    data = {"image": image.to(torch.float32)}
    if encoder.spatial_dims == 3:  # pictures and slices have no axes of the body
        data = orientation_for(encoder, "image")(data)
    return intensity_for(encoder, "image")(data)["image"]


def whole(image: torch.Tensor) -> torch.Tensor:
    """The whole image in a size that every source gets: for one feature vector per image.

    2D ``(C, H, W)``: the longer side becomes 224 pixels, the shorter one is filled up with the image's lowest value.
    3D ``(C, H, W, D)``: as it is, unless an axis is longer than 80 voxels; then averaged down to that, the same factor
    along every axis.
    """
    plain = image.as_subclass(torch.Tensor)
    lengths = plain.shape[1:]
    if len(lengths) == 2:
        size = [max(1, round(SIDE * length / max(lengths))) for length in lengths]
        resized = F.interpolate(plain[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
        return F.pad(resized, (0, SIDE - size[1], 0, SIDE - size[0]), value=float(plain.min()))
    if max(lengths) <= LONGEST_AXIS:
        return plain
    size = [max(1, round(LONGEST_AXIS * length / max(lengths))) for length in lengths]
    return F.interpolate(plain[None], size=size, mode="area")[0]


@dataclass(frozen=True)
class SampledVoxels:
    """Voxels of one label map, balanced over its classes.

    Attributes:
        indices: ``(n, dims)`` into the label map as stored.
        labels: ``(n,)`` their values.
        low, high: corners of the window that holds them, high excluded; the network sees this much of the image.
        affine: ``(4, 4)`` of the label map.
    """

    indices: np.ndarray
    labels: np.ndarray
    low: np.ndarray
    high: np.ndarray
    affine: np.ndarray


def sample_voxels(path: str, case: str, seed: int, per_class: int = PER_CLASS) -> SampledVoxels:
    """Draw voxels of every class from a label map, the same ones whatever the source.

    They come from a window of at most 80 voxels along each axis around the middle of the foreground. Half of the
    background voxels lie within 4 voxels of the foreground.

    Args:
        path: the label map.
        case: its name; with the seed it determines the draw.
        seed: of the draw.
        per_class: voxels of each class, fewer where there are no more.

    Raises:
        DataError: the label map cannot be read or has no foreground.
    """
    volume = read_volume(path, case_id=case, kind="label")
    label = np.asarray(volume.array)
    if not (label > 0).any():
        raise DataError("the label map has no foreground", case=case, path=path, expected="values above 0")
    low, high = _window(label)
    inside = label[tuple(map(slice, low, high))]
    rng = np.random.default_rng([seed, *case.encode()])
    chosen = [_of_class(inside, int(value), per_class, rng) for value in np.unique(inside)]
    indices = np.concatenate(chosen)
    return SampledVoxels(indices + low, inside[tuple(indices.T)].astype(np.int64), low, high, volume.affine)


def _window(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    foreground = np.argwhere(label > 0)
    middle = (foreground.min(axis=0) + foreground.max(axis=0) + 1) // 2
    shape = np.asarray(label.shape)
    length = np.minimum(shape, LONGEST_AXIS)
    low = np.clip(middle - length // 2, 0, shape - length)
    return low, low + length


def _of_class(label: np.ndarray, value: int, count: int, rng: np.random.Generator) -> np.ndarray:
    if value:
        return _drawn(np.argwhere(label == value), count, rng)
    near = distance_transform_edt(label == 0) <= NEAR
    close = _drawn(np.argwhere((label == 0) & near), count // 2, rng)
    return np.concatenate([close, _drawn(np.argwhere((label == 0) & ~near), count - len(close), rng)])


def _drawn(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return places[np.sort(rng.choice(len(places), min(count, len(places)), replace=False))]


def window_of(image: torch.Tensor, voxels: SampledVoxels) -> tuple[torch.Tensor, np.ndarray]:
    """The window of a prepared image, and the voxels as indices into it.

    Whatever the orientation that the source asked for, the affines tell where the voxels went.

    Args:
        image: ``(C, H, W[, D])`` with its affine.
        voxels: sampled from the label map of the same case.
    """
    dims = image.ndim - 1
    move = _identity if dims == 2 else partial(_moved, voxels.affine, np.asarray(image.affine))  # type: ignore[attr-defined]
    corners = np.sort(np.stack([move(voxels.low[None, :dims])[0], move(voxels.high[None, :dims] - 1)[0]]), axis=0)
    low, high = corners[0], corners[1] + 1
    window = image.as_subclass(torch.Tensor)[(slice(None), *map(slice, low, high))]
    return window, move(voxels.indices[:, :dims]) - low


def _identity(indices: np.ndarray) -> np.ndarray:
    return indices


def _moved(stored: np.ndarray, turned: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Indices under one affine as indices under another one of the same grid."""
    whole_numbers = np.concatenate([indices, np.ones((len(indices), 1))], axis=1)
    return np.rint(whole_numbers @ (np.linalg.inv(turned) @ stored).T)[:, :3].astype(np.int64)
