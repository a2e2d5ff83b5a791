"""A strict reader of grey pictures (PNG, JPEG): one image, wholly read, or an error that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medtl_monai.errors import ConfigError, FormatError, IntensityError
from medtl_monai.findings import Finding
from medtl_monai.io.voxels import check_image

Colour = Literal["refuse", "luminance"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 64_000_000  # a chest radiograph has about 10 million; more is a mistake or an attack
# Of 255: what rounding and JPEG leave between the channels of a grey picture, and no eye sees as colour.
MOST_CHROMA = 8
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, what Pillow and JPEG use
_EIGHT_BIT, _SIXTEEN_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA"), ("I;16", "I;16B", "I;16L", "I")
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}  # last chunk with its CRC; end-of-image marker


@dataclass(frozen=True, eq=False)
class Picture:
    """A grey picture in memory.

    Attributes:
        array: (H, W) float32, rows from top to bottom, columns from left to right, 0 to `white`.
        white: the largest value that the file can hold: 255 or 65535.
        case_id: name of the case.
        findings: what was corrected or is worth knowing.
    """

    array: NDArray[np.float32]
    white: float
    case_id: str
    findings: tuple[Finding, ...] = ()


def is_picture_name(path: str | PathLike[str]) -> bool:
    """Whether the name ends in .png, .jpg or .jpeg."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def read_picture(path: str | PathLike[str], *, case_id: str | None = None, colour: Colour = "refuse") -> Picture:
    """Read one PNG or JPEG file whose content is grey: 8 or 16 bit, also stored as RGB, RGBA or a palette of greys.

    Pictures know no voxel size and no intensity unit. One that the camera's EXIF tag turns is turned.

    Args:
        path: the file.
        case_id: name of the case; by default the file name without suffix.
        colour: what to do where the channels differ by more than `MOST_CHROMA` of 255: "refuse", or take the
            "luminance" (ITU-R BT.601) and say so in a Finding.

    Raises:
        ConfigError: another word for `colour`.
        FormatError: no PNG or JPEG, truncated or damaged, animated, coloured, transparent, too large, or of a pixel
            type that is not read.
        IntensityError: all pixels have one value.
    """
    file = Path(path)
    case = case_id if case_id is not None else file.stem
    if colour not in ("refuse", "luminance"):
        raise ConfigError("no such treatment of colour", expected="refuse or luminance", got=repr(colour))
    image = _opened(file, case)
    _require_opaque(image, file, case)
    findings = []
    if image.getexif().get(0x0112, 1) != 1:  # EXIF tag Orientation
        findings.append(Finding("picture.turned", "info", "stored turned or mirrored", "shown as its tag says", case))
    array, colour_findings = _grey(ImageOps.exif_transpose(image), colour, file, case)
    white = 255.0 if image.mode in _EIGHT_BIT else 65535.0
    return Picture(array, white, case, (*findings, *colour_findings, *check_image(array, case=case, path=file)))


def _opened(file: Path, case: str) -> Image.Image:
    """The image with its pixels decoded."""
    try:
        image = Image.open(file, formats=tuple(_ENDS))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        got = "other or damaged content" if isinstance(error, UnidentifiedImageError) else error
        expected = "PNG or JPEG"
        raise FormatError("not a PNG or JPEG picture", case=case, path=file, expected=expected, got=got) from error
    except OSError as error:
        raise FormatError("cannot open the picture", case=case, path=file, got=error.strerror or error) from error
    with image:
        _require_readable(image, file, case)
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: how Pillow reports a broken PNG
            raise _damaged(file, case, error) from error
    if _ENDS[str(image.format)] not in file.read_bytes()[-4096:]:
        raise _damaged(file, case, "no end mark")
    return image


def _damaged(file: Path, case: str, got: object) -> FormatError:
    remedy = "copy or export the file again"
    return FormatError("picture is truncated or damaged", case=case, path=file, got=got, remedy=remedy)


def _require_readable(image: Image.Image, file: Path, case: str) -> None:
    frames = int(getattr(image, "n_frames", 1))
    problems = {
        "the picture is an animation": (frames > 1, "one image", f"{frames} frames"),
        "the picture is too large": (image.width * image.height > MOST_PIXELS, f"{MOST_PIXELS} pixels", image.size),
        "pixel type is not read": (image.mode not in _EIGHT_BIT + _SIXTEEN_BIT, "grey or RGB, 8 or 16 bit", image.mode),
    }
    for problem, (wrong, expected, got) in problems.items():
        if wrong:
            raise FormatError(problem, case=case, path=file, expected=expected, got=got)


def _require_opaque(image: Image.Image, file: Path, case: str) -> None:
    if not image.has_transparency_data:
        return
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    if alpha.min() < 255:
        raise FormatError(
            "pixels are transparent: their grey value depends on the background",
            case=case,
            path=file,
            expected="an opaque picture",
            got=f"{int((alpha < 255).sum())} of {alpha.size} pixels see-through",
            remedy="export the image again without transparency",
        )


def _grey(image: Image.Image, colour: Colour, file: Path, case: str) -> tuple[NDArray[np.float32], list[Finding]]:
    if image.mode in _SIXTEEN_BIT:
        array = np.asarray(image).astype(np.float32)
        if array.min() < 0 or array.max() > 65535:
            raise FormatError("grey values beyond 16 bit", case=case, path=file, got=f"{array.min()} to {array.max()}")
        return array, []
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("LA"))[..., 0].astype(np.float32), []
    channels = np.asarray(image.convert("RGB")).astype(np.float32)
    difference = channels.max(axis=2) - channels.min(axis=2)
    strongest, share = float(difference.max()), float((difference > MOST_CHROMA).mean())
    if strongest == 0:
        return np.ascontiguousarray(channels[..., 0]), []
    found = (
        f"channels that differ by up to {strongest:g} of 255, by more than {MOST_CHROMA} in {share:.2%} of the pixels"
    )
    if strongest > MOST_CHROMA and colour == "refuse":
        remedy = "export it in grey without marks, or ask for the luminance (colour=luminance)"
        raise FormatError("the picture is coloured", case=case, path=file, expected="grey", got=found, remedy=remedy)
    severity: Literal["info", "warning"] = "warning" if strongest > MOST_CHROMA else "info"
    return channels @ LUMA, [Finding("picture.colour", severity, f"not quite grey: {found}", "luminance taken", case)]


def picture_data(paths: list[Path], colour: Colour) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """A picture as `VolumeReader.get_data` returns it: array (H, W), meta with an identity affine and no space.

    Its meta have two entries that those of scans lack: ``white`` (see `Picture`), and ``spacing_known``: False.

    Raises:
        FormatError: several files; and the errors of `read_picture`.
    """
    if len(paths) != 1:
        raise FormatError("pictures are read one by one", path=paths[0], expected="one file", got=f"{len(paths)} files")
    picture = read_picture(paths[0], colour=colour)
    return picture.array, {
        "filename_or_obj": str(paths[0]),
        "affine": np.eye(4),
        "original_affine": np.eye(4),
        "spatial_shape": np.asarray(picture.array.shape),
        "space": "",
        "original_channel_dim": "no_channel",
        "case": picture.case_id,
        "findings": " | ".join(f"{finding.code}: {finding.message}" for finding in picture.findings),
        "spacing_known": False,
        "white": picture.white,
    }


def require_no_label(kind: str, path: Path) -> None:
    """Refuse a picture as a label map. Raises IntensityError."""
    if kind != "image":
        raise IntensityError("a picture is no label map", path=path, expected="a NIfTI file")
