"""Grey pictures as every program writes them, and the pictures that have to be refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import LoadImage, LoadImaged, RandFlipd
from PIL import Image

from medtl_monai.errors import ConfigError, DataError, FormatError, IntensityError
from medtl_monai.io.picture import is_picture_name, read_picture
from medtl_monai.io.reader import VolumeReader

READER = "medtl_monai.io.reader.VolumeReader"
GREY = np.random.default_rng(0).integers(0, 256, (12, 9), dtype=np.uint8)  # 12 rows, 9 columns


def rgb(*channels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack(channels, axis=-1))


def grey_palette() -> Image.Image:
    image = Image.fromarray(GREY // 64)
    indexed = Image.new("P", image.size)
    indexed.putdata(list(image.getdata()))
    indexed.putpalette([level for index in range(256) for level in [(index * 64) % 256] * 3])
    return indexed


SAME: dict[str, tuple[Callable[[], Image.Image], np.ndarray]] = {
    "grey": (lambda: Image.fromarray(GREY), GREY),
    "grey and alpha": (lambda: Image.fromarray(GREY).convert("LA"), GREY),
    "rgb": (lambda: rgb(GREY, GREY, GREY), GREY),
    "opaque rgba": (lambda: rgb(GREY, GREY, GREY, np.full_like(GREY, 255)), GREY),
    "palette of greys": (grey_palette, GREY // 64 * 64),
    "two levels": (lambda: Image.fromarray(GREY > 127), (GREY > 127) * 255),
    "16 bit": (lambda: Image.fromarray(GREY.astype(np.uint16) * 257), GREY.astype(int) * 257),
}


@pytest.mark.parametrize("kind", SAME)
def test_grey_is_grey_however_it_is_stored(kind: str, tmp_path: Path) -> None:
    make, expected = SAME[kind]
    make().save(tmp_path / "case_7.png")
    picture = read_picture(tmp_path / "case_7.png")
    assert (picture.array.dtype, picture.array.shape, picture.case_id) == (np.float32, (12, 9), "case_7")
    np.testing.assert_array_equal(picture.array, expected)
    assert picture.white == (65535 if kind == "16 bit" else 255)
    assert picture.findings == ()


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    rgb(smooth, smooth, smooth).save(tmp_path / "a.JPG", format="JPEG", quality=95)
    np.testing.assert_allclose(read_picture(tmp_path / "a.JPG").array, smooth, atol=3)


def test_what_the_camera_turned_is_turned_back(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x0112] = 6  # TIFF 6.0: row 0 of the file is the right side of the picture
    image.save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.array, np.rot90(GREY, -1))
    assert [finding.code for finding in picture.findings] == ["picture.turned"]


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def coloured() -> Image.Image:
    red = GREY.copy()
    red[3, 4] ^= 128  # one pixel of an arrow
    return rgb(red, GREY, GREY)


def palette_with_colour() -> Image.Image:
    return coloured().convert("P")


def transparent() -> Image.Image:
    alpha = np.full_like(GREY, 255)
    alpha[0, 0] = 254
    return rgb(GREY, GREY, GREY, alpha)


def frames() -> dict[str, object]:
    return {"save_all": True, "append_images": [Image.fromarray(255 - GREY)], "duration": 100}


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "coloured": (lambda f: saved(coloured(), f / "a.png"), "coloured"),
    "palette with colour": (lambda f: saved(palette_with_colour(), f / "a.png"), "coloured"),
    "animated": (lambda f: saved(Image.fromarray(GREY), f / "a.png", **frames()), "animation"),
    "transparent": (lambda f: saved(transparent(), f / "a.png"), "transparent"),
    "cmyk": (lambda f: saved(Image.fromarray(GREY).convert("CMYK"), f / "a.jpg"), "pixel type"),
    "a GIF in disguise": (lambda f: saved(Image.fromarray(GREY), f / "a.png", format="GIF"), "not a PNG or JPEG"),
    "absent": (lambda f: f / "a.png", "cannot open"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    make, reason = REFUSED[kind]
    path = make(tmp_path)
    with pytest.raises(FormatError, match=reason) as caught:
        read_picture(path, case_id="patient_3")
    assert (caught.value.case, caught.value.path) == ("patient_3", str(path))


def test_a_constant_picture_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(IntensityError, match="same value"):
        read_picture(saved(Image.new("L", (8, 8), 7), tmp_path / "a.png"))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_every_truncation_is_refused(name: str, tmp_path: Path) -> None:
    whole = saved(Image.fromarray(np.tile(GREY, (4, 4))), tmp_path / name).read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_picture(tmp_path / name)


def test_a_flipped_bit_in_the_pixels_is_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GREY), tmp_path / "a.png")
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 16
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        read_picture(path)


def test_a_header_that_claims_a_huge_picture_is_refused_unread(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 9000, 8000, 8, 0, 0, 0, 0)  # PNG: width, height, depth, grey, ...
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(FormatError, match="too large"):
        read_picture(tmp_path / "a.png")


def test_luminance_on_demand_is_that_of_pillow_and_is_told(tmp_path: Path) -> None:
    path = saved(coloured(), tmp_path / "a.png")
    picture = read_picture(path, colour="luminance")
    np.testing.assert_allclose(picture.array, np.asarray(coloured().convert("L")), atol=0.6)
    (finding,) = picture.findings
    assert (finding.code, finding.severity) == ("picture.colour", "warning")
    assert "128 of 255" in finding.message
    with pytest.raises(ConfigError):
        read_picture(path, colour="green")  # type: ignore[arg-type]


def test_a_difference_that_no_one_sees_is_grey(tmp_path: Path) -> None:
    near = np.clip(GREY.astype(int) + 8, 0, 255).astype(np.uint8)
    (finding,) = read_picture(saved(rgb(near, GREY, GREY), tmp_path / "a.png")).findings
    assert finding.severity == "info"


def test_monai_loads_it_and_its_spatial_transforms_work(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GREY), tmp_path / "slice_1.png")
    item = LoadImaged("image", reader=READER, ensure_channel_first=True)({"image": str(path)})
    image = item["image"]
    assert image.shape == (1, 12, 9)
    np.testing.assert_array_equal(image.affine, np.eye(4))
    assert (image.meta["case"], image.meta["spacing_known"], image.meta["white"]) == ("slice_1", False, 255)
    flipped = RandFlipd("image", prob=1.0, spatial_axis=1)(item)["image"]
    np.testing.assert_array_equal(flipped[0], GREY[:, ::-1])
    assert is_picture_name(path)
    assert VolumeReader().verify_suffix(path)


def test_monai_does_not_read_otherwise_what_was_refused(tmp_path: Path) -> None:
    path = saved(coloured(), tmp_path / "a.png")
    with pytest.raises(FormatError, match="coloured"):
        LoadImage(reader=READER)(path)
    assert LoadImage(reader=VolumeReader(colour="luminance"), image_only=True)(path).dtype == torch.float32


def test_neither_a_label_nor_a_channel(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GREY), tmp_path / "a.png")
    with pytest.raises(DataError, match="no label map"):
        VolumeReader(kind="label").get_data([path])
    with pytest.raises(FormatError, match="one by one"):
        VolumeReader().get_data([path, path])


def test_real_slices(real_data: Path) -> None:
    """Of the 140 head CT slices those are refused whose channels differ by more than 8, counted with numpy alone."""
    refused, expected = set(), set()
    for path in sorted((real_data / "head_ct_hemorrhage" / "images").glob("*.png")):
        channels = np.asarray(Image.open(path))[..., :3].astype(int)
        if (channels.max(-1) - channels.min(-1)).max() > 8:
            expected.add(path.name)
        try:
            assert read_picture(path).array.shape == channels.shape[:2]
        except FormatError:
            refused.add(path.name)
    assert refused == expected
    assert len(expected) > 10
