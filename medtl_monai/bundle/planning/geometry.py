"""Voxel sizes, patches and image sizes: what fits the images and the memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medtl_monai.bundle.planning.case_facts import CaseFacts
from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.network_facts import fits, step_bytes
from medtl_monai.errors import ConfigError

ANISOTROPIC = 3.0  # coarsest over finest voxel edge above this: the coarse axis stays as it is
FAR_LARGER = 16.0  # median volume over patch above this: the images are shrunken
LEAST_OBJECT = 50.0  # voxels that the smallest label keeps when images are shrunken
LONGEST_PATCH = {2: 512, 3: 128}
LARGE_SIDE, SMALL_SIDE = 224, 64  # pixels of 2D images: what ImageNet networks were trained on; four strides of 16
LEAST_BATCH = 2  # batch norm needs two
_RAS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def plane(case: CaseFacts, dims: int) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Shape and spacing of a case along right, anterior, superior; in 2D without the axis of length 1."""
    if dims == 3 or len(case.shape) == 2:
        return case.shape, case.spacing
    axis = case.shape.index(1)
    shape = tuple(length for number, length in enumerate(case.shape) if number != axis)
    spacing = case.spacing and tuple(edge for number, edge in enumerate(case.spacing) if number != axis)
    return shape, spacing


def along(values: Sequence[float], orientation: str) -> list[float]:
    """Values along right, anterior, superior as values along the axes of an orientation such as ``"SAR"``."""
    return [values[_RAS[letter]] for letter in orientation] if len(values) == 3 else list(values)


def median_grid(fingerprint: Fingerprint, dims: int, orientation: str) -> tuple[list[float], list[float] | None]:
    """Median extent in voxels of the median spacing, and the median spacing in mm (None for pictures).

    Along the axes of ``orientation``. The extent is the median of the extents in mm over the median voxel size.
    """
    rows = [plane(case, dims) for case in fingerprint.read]
    known = [(shape, spacing) for shape, spacing in rows if spacing is not None]
    if len(known) < len(rows):
        return along(np.median([shape for shape, _ in rows], axis=0).tolist(), orientation), None
    spacing = np.median([edge for _, edge in known], axis=0)
    extent = np.median([np.multiply(shape, edge) for shape, edge in known], axis=0)
    return along((extent / spacing).tolist(), orientation), along(spacing.tolist(), orientation)


def smallest_label_ml(fingerprint: Fingerprint) -> float | None:
    """The median volume in ml of the label that is smallest by it; None without labels."""
    volumes: dict[int, list[float]] = {}
    for case in fingerprint.read:
        for value, facts in case.labels.items():
            volumes.setdefault(value, []).append(facts.ml)
    return min((float(np.median(found)) for found in volumes.values()), default=None)


def choose_spacing(
    shape: Sequence[float], spacing: Sequence[float], patch: Sequence[int], smallest_ml: float | None
) -> Choice[list[float]]:
    """Target voxel size in mm along each axis.

    The median, coarser where the median volume is more than `FAR_LARGER` patches: then every axis by one factor, except
    coarse ones (more than `ANISOTROPIC` times the finest), and never beyond those. The smallest label keeps
    `LEAST_OBJECT` voxels.

    Args:
        shape: median extent in voxels.
        spacing: median voxel size in mm.
        patch: the patch that fits at this voxel size.
        smallest_ml: median volume of the smallest label in ml.
    """
    finest, coarsest = min(spacing), max(spacing)
    fine = [axis for axis, edge in enumerate(spacing) if edge <= ANISOTROPIC * finest]
    ratio = math.prod(shape) / math.prod(patch)
    shown = " x ".join(f"{edge:.3g}" for edge in spacing)
    reason = f"median {shown} mm; median volume {ratio:.3g} patches"
    if len(fine) < len(spacing):
        reason += f"; coarsest axis {coarsest / finest:.2g} times the finest, kept as it is"
    factor = (ratio / FAR_LARGER) ** (1 / len(fine))
    if factor <= 1:
        return Choice([round(edge, 4) for edge in spacing], reason)
    limits = [edge / max(spacing[axis] for axis in fine) for n, edge in enumerate(spacing) if n not in fine]
    if smallest_ml:
        voxels = smallest_ml * 1000 / math.prod(spacing)
        limits.append((voxels / LEAST_OBJECT) ** (1 / len(fine)))
        reason += f"; smallest label {voxels:.3g} voxels, {LEAST_OBJECT:g} to be kept"
    factor = max(1.0, min([factor, *limits]))
    reason += f"; above {FAR_LARGER:g} patches, so shrunken by {factor:.3g}"
    return Choice([round(edge * (factor if n in fine else 1), 4) for n, edge in enumerate(spacing)], reason)


def choose_size(shape: Sequence[float], network: str, out_channels: int, memory_gb: float) -> Choice[list[int]]:
    """A patch, or the size of whole 3D images: as much of the median shape as fits into the memory, two at a time.

    Each edge is the largest multiple of 16 (of 8 where the image is below 64) within the median shape and
    `LONGEST_PATCH`, at least 8. While a step does not fit, the edge that covers most of its axis gives way.

    Raises:
        ConfigError: not even the smallest patch fits.
    """
    steps = [16 if length >= 64 else 8 for length in shape]
    longest = LONGEST_PATCH[len(shape)]
    size = [max(step, int(min(length, longest) // step) * step) for length, step in zip(shape, steps, strict=True)]
    least = [min(16, edge) for edge in size]
    if not fits(network, least, LEAST_BATCH, out_channels, memory_gb):
        raise _too_little(network, least, out_channels, memory_gb)
    while not fits(network, size, LEAST_BATCH, out_channels, memory_gb):
        smaller = [axis for axis, edge in enumerate(size) if edge > least[axis]]
        axis = max(smaller, key=lambda n: (size[n] / shape[n], size[n], -n))
        size[axis] -= steps[axis]
    shown = " x ".join(f"{length:.4g}" for length in shape)
    need = step_bytes(network, size, LEAST_BATCH, out_channels) / 1e9
    return Choice(
        size, f"within the median shape {shown}; {LEAST_BATCH} need {need:.2g} of {memory_gb:g} GB in {network}"
    )


def choose_side(shape: Sequence[float], network: str, out_channels: int, memory_gb: float) -> Choice[int]:
    """Pixels along the longer side of 2D images: the median's, up to a multiple of 32, from 64 to 224, if it fits.

    Raises:
        ConfigError: not even 64 fit.
    """
    longer = max(shape)
    side = min(LARGE_SIDE, max(SMALL_SIDE, math.ceil(longer / 32) * 32))
    while not fits(network, (side, side), LEAST_BATCH, out_channels, memory_gb):
        if side <= SMALL_SIDE:
            raise _too_little(network, (side, side), out_channels, memory_gb)
        side -= 32
    need = step_bytes(network, (side, side), LEAST_BATCH, out_channels) / 1e9
    reason = f"median longer side {longer:g} pixels, bounds {SMALL_SIDE} and {LARGE_SIDE}"
    return Choice(side, f"{reason}; {LEAST_BATCH} images need {need:.2g} of {memory_gb:g} GB in {network}")


def choose_batch(
    size: Sequence[int], network: str, out_channels: int, memory_gb: float, *, training: int, most: int
) -> Choice[int]:
    """Images per step: doubled from two while the memory, a quarter of the training cases and ``most`` allow."""
    batch = LEAST_BATCH
    few = max(LEAST_BATCH, training // 4)
    while 2 * batch <= min(most, few) and fits(network, size, 2 * batch, out_channels, memory_gb):
        batch *= 2
    need = step_bytes(network, size, batch, out_channels) / 1e9
    reason = f"{batch} need {need:.2g} of {memory_gb:g} GB; at most {most} and a quarter of {training} training cases"
    return Choice(batch, reason)


def _too_little(network: str, size: Sequence[int], out_channels: int, memory_gb: float) -> ConfigError:
    need = step_bytes(network, size, LEAST_BATCH, out_channels) / 1e9
    return ConfigError(
        f"network {network!r} does not fit into the memory",
        expected=f"{need / 0.75:.2g} GB for {LEAST_BATCH} images of {' x '.join(map(str, size))}",
        got=f"memory_gb {memory_gb:g}",
        remedy="choose another source, or a machine with more memory",
    )
