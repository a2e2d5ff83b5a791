"""One call per modality: a loaded image becomes what a network expects, the same in training, inference and Label."""

from __future__ import annotations

from collections.abc import Sequence

from monai.transforms import CopyItemsd, DeleteItemsd, MapTransform, NormalizeIntensityd, Resized, Spacingd, SpatialPadd
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.switch import switch
from medtl_monai.transforms.bias_field import BiasFieldd
from medtl_monai.transforms.ct import Window, ct_window
from medtl_monai.transforms.masks import mask_intensity_for
from medtl_monai.transforms.mri import robust_zscore, zscore
from medtl_monai.transforms.network_input import intensity_for, orientation_for
from medtl_monai.transforms.slices import DisplayedSliced
from medtl_monai.transforms.steps import Steps

_LABEL_PATH, _PARKED = "image_path", "source_path"  # a text that MONAI Label adds to every case


def mr_volume(
    network: nn.Module,
    keys: str | Sequence[str] = "image",
    spacing: Sequence[float] | None = None,
    bias_field: bool = False,
    nonzero: bool = False,
    clip: bool = False,
) -> Steps:
    """MR volumes: the network's axes, a spacing, and the intensities that the network expects.

    Intensities of MR have no unit; each volume is its own scale (z-score, or percentiles: see
    :data:`medtl_monai.transforms.preprocessing.INTENSITIES`).

    Args:
        network: its attributes ``orientation`` and ``intensity`` say what it expects.
        keys: the image ``(1, H, W, D)``, and after it perhaps a label map on the same grid.
        spacing: voxel size in mm along the axes after turning; None keeps the scan's own.
        bias_field: correct slow changes of brightness first, by N4 (:class:`BiasFieldd`); seconds per volume.
        nonzero: for networks that expect a z-score: over the voxels that are not 0, which stay 0 (masked backgrounds).
        clip: for networks that expect a z-score: of the values between the 0.5th and the 99.5th percentile, for scans
            of other modalities, whose extremes tell nothing. Not together with ``nonzero``.

    Raises:
        ConfigError: ``nonzero`` and ``clip`` together.

    Returns:
        Transforms that ``Invertd`` can invert, as far as they concern geometry.
    """
    names = _names(keys)
    steps = [orientation_for(network, names), *_resampling(names, spacing)]
    return Steps(names, [*steps, *_mr_intensity(network, names[0], bias_field, nonzero, clip)])


def _mr_intensity(network: nn.Module, key: str, bias_field: bool, nonzero: bool, clip: bool) -> list[MapTransform]:
    steps: list[MapTransform] = [BiasFieldd(key)] if switch("bias_field", bias_field) else []
    centred = str(getattr(network, "intensity", "zscore")) == "zscore"
    whole, clipped = not switch("nonzero", nonzero), switch("clip", clip)
    if not whole and clipped:
        raise ConfigError("nonzero and clip exclude each other", expected="one of them", got="both")
    if centred and not whole:
        return [*steps, NormalizeIntensityd(key, nonzero=True, channel_wise=True)]
    return [*steps, *(robust_zscore(key) if centred and clipped else [intensity_for(network, key)])]


def ct_volume(
    network: nn.Module,
    keys: str | Sequence[str] = "image",
    spacing: Sequence[float] | None = None,
    window: str | Sequence[float] = "abdomen",
) -> Steps:
    """CT volumes in HU: a clinical window of the whole scan, the network's axes, a spacing, the network's intensities.

    The window goes to [0, 1], which is what networks with intensity ``"unit"`` expect; the others get its z-score.

    Args:
        network: its attributes ``orientation`` and ``intensity`` say what it expects.
        keys: the image ``(1, H, W, D)``, and after it perhaps a label map on the same grid.
        spacing: voxel size in mm along the axes after turning; None keeps the scan's own.
        window: name of a window in :data:`medtl_monai.transforms.ct.CT_WINDOWS`, or the HU that become 0 and 1.

    Returns:
        Transforms that ``Invertd`` can invert, as far as they concern geometry.

    Raises:
        ConfigError: no window has this name; when it runs, IntensityError on values that cannot be HU.
    """
    names = _names(keys)
    expected = str(getattr(network, "intensity", "zscore"))
    after = [] if expected == "unit" else zscore(names[0])
    turned = [orientation_for(network, names), *_resampling(names, spacing)]
    return Steps(names, [*ct_window(names[0], window), *turned, *after])


def _names(keys: str | Sequence[str]) -> tuple[str, ...]:
    names = (keys,) if isinstance(keys, str) else tuple(keys)
    if len(names) not in (1, 2):
        raise ConfigError(
            "an image, and perhaps its label map", expected="one or two keys, the image first", got=", ".join(names)
        )
    return names


def _resampling(names: Sequence[str], spacing: Sequence[float] | None) -> list[MapTransform]:
    """MONAI's ``Spacingd`` takes every ``image_...`` for meta data; MONAI Label's text is put aside meanwhile."""
    if spacing is None:
        return []
    return [
        CopyItemsd(_LABEL_PATH, names=_PARKED, allow_missing_keys=True),
        DeleteItemsd(_LABEL_PATH),
        Spacingd(names, pixdim=tuple(spacing), mode=("bilinear", "nearest")[: len(names)]),
        CopyItemsd(_PARKED, names=_LABEL_PATH, allow_missing_keys=True),
    ]


def ct_slice(
    network: nn.Module,
    keys: str = "image",
    window: str | Sequence[Window] = "brain",
    size: int = 224,
) -> Steps:
    """CT slices (NIfTI, DICOM) or pictures of them: as displayed, in a square, with the network's intensities.

    Args:
        network: its attribute ``intensity`` says what it expects.
        keys: the image, ``(1, I, J, 1)`` in HU or a picture ``(1, H, W)``.
        window: name of a window, or a list of names and of ranges ``[low, high]`` in HU, for as many channels.
        size: of the square, in pixels; the longer side fills it, the shorter one is padded with zeros.

    Raises:
        ConfigError: no window has this name; when it runs, GeometryError and IntensityError of
            :class:`medtl_monai.transforms.slices.DisplayedSliced`.
    """
    return Steps(keys, [DisplayedSliced(keys, window), *_square(keys, size), intensity_for(network, keys)])


def mr_slice(network: nn.Module, keys: str = "image", size: int = 224) -> Steps:
    """MR slices, or pictures of any modality: as displayed, in a square, with the network's intensities.

    Args:
        network: its attribute ``intensity`` says what it expects.
        keys: the image, ``(1, I, J, 1)`` or a picture ``(1, H, W)``.
        size: of the square, in pixels.
    """
    return Steps(keys, [DisplayedSliced(keys, None), *_square(keys, size), intensity_for(network, keys)])


def mask_volume(network: nn.Module, keys: str = "image", size: Sequence[int] = (28, 28, 28)) -> Steps:
    """Binary masks as input of a classifier of shapes: the network's axes, a size in voxels, 0 and 1 or their z-score.

    Args:
        network: its attributes ``orientation`` and ``intensity`` say what it expects.
        keys: the mask ``(1, H, W, D)``.
        size: of the result, in voxels.
    """
    resized = Resized(keys, spatial_size=tuple(size), mode="nearest")
    return Steps(keys, [orientation_for(network, keys), resized, mask_intensity_for(network, keys)])


def mr_resized(
    network: nn.Module,
    keys: str = "image",
    size: Sequence[int] = (64, 64, 64),
    bias_field: bool = False,
    nonzero: bool = False,
    clip: bool = False,
) -> Steps:
    """Whole MR volumes for a classifier: the network's axes, a size in voxels, the intensities that it expects.

    Args:
        network: its attributes ``orientation`` and ``intensity`` say what it expects.
        keys: the image ``(1, H, W, D)``.
        size: of the result, in voxels along the axes after turning; proportions are not kept.
        bias_field, nonzero, clip: as for :func:`mr_volume`.

    Raises:
        ConfigError: ``nonzero`` and ``clip`` together.
    """
    steps = [orientation_for(network, keys), _resized(keys, size)]
    return Steps(keys, [*steps, *_mr_intensity(network, keys, bias_field, nonzero, clip)])


def ct_resized(
    network: nn.Module,
    keys: str = "image",
    size: Sequence[int] = (64, 64, 64),
    window: Window = "abdomen",
) -> Steps:
    """Whole CT volumes in HU for a classifier: a clinical window, the network's axes and intensities, a size in voxels.

    Args:
        network: its attributes ``orientation`` and ``intensity`` say what it expects.
        keys: the image ``(1, H, W, D)``.
        size: of the result, in voxels along the axes after turning; proportions are not kept.
        window: as for :func:`ct_volume`.

    Raises:
        ConfigError: no window has this name; when it runs, IntensityError on values that cannot be HU.
    """
    after = [] if str(getattr(network, "intensity", "zscore")) == "unit" else zscore(keys)
    return Steps(keys, [*ct_window(keys, window), orientation_for(network, keys), _resized(keys, size), *after])


def _resized(keys: str, size: Sequence[int]) -> MapTransform:
    """Smoothed before it is made smaller, so that single voxels do not stand for many; outside the image it is 0."""
    return Resized(keys, spatial_size=tuple(size), mode="trilinear", anti_aliasing=True)


def _square(keys: str, size: int) -> list[MapTransform]:
    return [
        Resized(keys, spatial_size=size, size_mode="longest", mode="bilinear", anti_aliasing=True),
        SpatialPadd(keys, spatial_size=(size, size)),
    ]
