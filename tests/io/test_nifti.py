"""The NIfTI reader: equal to nibabel on whole files, and every planted defect refused by name."""

from __future__ import annotations

import gzip
import os
import resource
import struct
from pathlib import Path

import defects
import nibabel as nib
import numpy as np
import pytest

from medtl_monai.errors import FormatError, GeometryError, IntensityError, LabelError
from medtl_monai.io.nifti import read_nifti


def codes(volume: object) -> list[str]:
    return [finding.code for finding in volume.findings]  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_equals_nibabel(tmp_path: Path, dtype: str, suffix: str) -> None:
    path = defects.save_nifti(tmp_path / f"pat ünï 1{suffix}", defects.image(dtype=dtype) // 2)
    volume, reference = read_nifti(path), nib.load(path)
    np.testing.assert_array_equal(volume.array, np.asanyarray(reference.dataobj))
    np.testing.assert_array_equal(volume.affine, reference.affine)
    assert volume.array.dtype == (np.float32 if dtype == "float64" else np.dtype(dtype))
    assert (volume.case_id, volume.findings) == ("pat ünï 1", ())


def test_equals_nibabel_for_scaled_big_endian_and_nifti2(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    scaled = nib.Nifti1Image(defects.image(dtype="float32") / 7, defects.AFFINE, header)
    nib.save(scaled, tmp_path / "a.nii.gz")
    nib.save(nib.Nifti2Image(defects.image(), defects.AFFINE), tmp_path / "b.nii")
    for name in ("a.nii.gz", "b.nii"):
        volume, reference = read_nifti(tmp_path / name), nib.load(tmp_path / name)
        np.testing.assert_array_equal(volume.array, np.asanyarray(reference.dataobj).astype(volume.array.dtype))
        np.testing.assert_array_equal(volume.affine, reference.affine)
        assert volume.array.dtype.isnative


def test_equals_nibabel_on_real_scans(real_data: Path) -> None:
    paths = [*sorted((real_data / "hippocampus_mri/images").glob("*.nii.gz"))[:5], real_data / "brain_t1/t1_256.nii.gz"]
    for path in paths:
        volume, reference = read_nifti(path), nib.load(path)
        np.testing.assert_array_equal(volume.array, np.asanyarray(reference.dataobj))
        np.testing.assert_array_equal(volume.affine, reference.affine)


def test_trailing_singleton_axis_and_2d_are_one_volume(tmp_path: Path) -> None:
    assert read_nifti(defects.save_nifti(tmp_path / "a.nii", defects.image((6, 5, 4, 1)))).array.shape == (6, 5, 4)
    assert read_nifti(defects.save_nifti(tmp_path / "b.nii", defects.image((6, 5)))).array.shape == (6, 5, 1)


def test_row27_disagreeing_forms_are_refused_and_can_be_chosen(tmp_path: Path) -> None:
    flipped = defects.AFFINE @ np.diag([-2.0, 1, 1, 1])
    path = defects.save_nifti(tmp_path / "c.nii", defects.image(), qform=flipped)
    with pytest.raises(
        GeometryError, match=r"case c: sform and qform disagree.*sform \[-1.5.*qform \[3 0.*affine='sform'"
    ):
        read_nifti(path)
    np.testing.assert_allclose(read_nifti(path, affine="sform").affine, defects.AFFINE)
    np.testing.assert_allclose(read_nifti(path, affine="qform").affine, flipped, atol=1e-5)


def test_chosen_form_must_be_coded(tmp_path: Path) -> None:
    path = defects.save_nifti(tmp_path / "c.nii", defects.image(), qform=None)
    assert codes(read_nifti(path)) == []
    with pytest.raises(GeometryError, match="qform is asked for but not coded"):
        read_nifti(path, affine="qform")


def test_row28_no_coded_affine_is_a_warning(tmp_path: Path) -> None:
    path = defects.save_nifti(tmp_path / "c.nii", defects.image(), sform=None, qform=None)
    volume = read_nifti(path)
    assert codes(volume) == ["nifti.no_affine"]
    assert volume.findings[0].severity == "warning"
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)


def test_row30_shear_is_recorded(tmp_path: Path) -> None:
    sheared = defects.AFFINE.copy()
    sheared[0, 2] = 0.5
    assert codes(read_nifti(defects.save_nifti(tmp_path / "c.nii", defects.image(), sform=sheared, qform=None))) == [
        "nifti.shear"
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [([1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0], "singular"), ([1, 0, 0, np.nan, 0, 1, 0, 0, 0, 0, 1, 0], "not finite")],
)
def test_row31_unusable_affine(tmp_path: Path, rows: list[float], problem: str) -> None:
    path = tmp_path / "c.nii"
    path.write_bytes(defects.set_sform_rows(defects.nifti_bytes(defects.image()), rows))
    with pytest.raises(GeometryError, match=rf"case c: affine is {problem}.*file .*c\.nii"):
        read_nifti(path)


@pytest.mark.parametrize(("code", "factor"), [(1, 1e-3), (3, 1e3)])
def test_row32_units_are_converted_and_recorded(tmp_path: Path, code: int, factor: float) -> None:
    stored = np.diag([factor, factor, factor, 1]) @ defects.AFFINE
    path = defects.save_nifti(tmp_path / "c.nii", defects.image(), sform=stored, qform=stored, units=code)
    volume = read_nifti(path)
    np.testing.assert_allclose(volume.affine, defects.AFFINE, rtol=1e-6)
    assert codes(volume) == ["nifti.units"]


@pytest.mark.parametrize(("code", "problem"), [(1, "unit makes no sense"), (5, "unit code is unknown")])
def test_row32_impossible_units(tmp_path: Path, code: int, problem: str) -> None:
    with pytest.raises(GeometryError, match=problem):
        read_nifti(defects.save_nifti(tmp_path / "c.nii", defects.image(), units=code))


def test_row33_time_series(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"case c: not one 3-D volume.*\(6, 5, 4, 3\)"):
        read_nifti(defects.save_nifti(tmp_path / "c.nii", defects.image((6, 5, 4, 3))))


@pytest.mark.parametrize("kind", ["image", "label"])
def test_row34_not_finite_is_counted(tmp_path: Path, kind: str) -> None:
    array = defects.image(dtype="float32")
    array[0, 0, :3], array[1, 1, 1] = np.nan, np.inf
    with pytest.raises(IntensityError, match=r"case c: voxels are not finite.*3 NaN and 1 infinite of 120"):
        read_nifti(defects.save_nifti(tmp_path / "c.nii", array), kind=kind)  # type: ignore[arg-type]


def test_row34_float64_beyond_float32_is_refused(tmp_path: Path) -> None:
    array = defects.image(dtype="float64")
    array[0, 0, 0] = 1e300
    with pytest.raises(IntensityError, match="1 infinite"):
        read_nifti(defects.save_nifti(tmp_path / "c.nii", array))


def test_row35_empty_image_is_refused_and_empty_label_is_not(tmp_path: Path) -> None:
    path = defects.save_nifti(tmp_path / "c.nii", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(IntensityError, match=r"no foreground.*minimum 0, maximum 0"):
        read_nifti(path)
    assert not read_nifti(path, kind="label").array.any()


@pytest.mark.parametrize("dims", [(3, 0, 5, 4, 1, 1, 1, 1), (3, -6, 5, 4, 1, 1, 1, 1), (9, 6, 5, 4, 1, 1, 1, 1)])
def test_row36_damaged_dimensions(tmp_path: Path, dims: tuple[int, ...]) -> None:
    path = tmp_path / "c.nii"
    path.write_bytes(defects.set_dims(defects.nifti_bytes(defects.image()), dims))
    with pytest.raises(FormatError, match="dimensions are empty or damaged"):
        read_nifti(path)


@pytest.mark.parametrize("name", ["c.nii", "c.nii.gz"])
def test_row36_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(FormatError, match=r"case c: file is empty.*0 bytes.*c\.nii"):
        read_nifti(tmp_path / name)


def test_row37_every_truncation_is_refused_by_name(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(defects.nifti_bytes(defects.image())))
    plain = bytes(defects.nifti_bytes(defects.image()))
    for name, data in (("c.nii.gz", whole), ("c.nii", plain)):
        for length in range(1, len(data), 7):
            (tmp_path / name).write_bytes(data[:length])
            with pytest.raises(FormatError, match=rf"case c: .*{name}"):
                read_nifti(tmp_path / name)


def test_row38_flipped_bits(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(bytes(defects.nifti_bytes(defects.image())), compresslevel=0))
    data[-40] ^= 0x10  # a voxel of a stored block: only the checksum can tell
    (tmp_path / "c.nii.gz").write_bytes(data)
    with pytest.raises(FormatError, match=r"gzip stream is damaged.*CRC check failed 0x\w+ != 0x\w+.*c\.nii\.gz"):
        read_nifti(tmp_path / "c.nii.gz")


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("c.nii.gz", b"<html>not found</html>", "got 3c 68 74 6d"),
        ("c.nii.gz", bytes(defects.nifti_bytes(defects.image())), "not what its name says"),
        ("c.nii", gzip.compress(bytes(defects.nifti_bytes(defects.image()))), "got 1f 8b"),
        ("c.nii", b"<html>not found</html>", "not a NIfTI file"),
        ("c.nii", bytes(400), "not a NIfTI file"),
    ],
)
def test_row39_other_content(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError, match=f"case c: .*{problem}"):
        read_nifti(tmp_path / name)


@pytest.mark.parametrize("name", ["c.nii", "c.nii.gz"])
@pytest.mark.parametrize("side", [600, 30000])
def test_row40_lying_header_is_refused_before_allocation(tmp_path: Path, name: str, side: int) -> None:
    data = defects.set_dims(defects.nifti_bytes(defects.image()), (3, side, side, side, 1, 1, 1, 1))
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(data)) if name.endswith("gz") else data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match=r"claims more than the file can hold.*GiB"):
        read_nifti(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_row40_honest_but_gigantic_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.nii"
    path.write_bytes(defects.set_dims(defects.nifti_bytes(defects.image()), (3, 2200, 2200, 2200, 1, 1, 1, 1)))
    os.truncate(path, 352 + 2 * 2200**3)  # sparse: no disk is used
    with pytest.raises(FormatError, match=r"too large to read.*19\.8 GiB"):
        read_nifti(path)


def test_row41_gzip_bomb_behind_a_small_header(tmp_path: Path) -> None:
    path = defects.write_gz(tmp_path / "c.nii.gz", bytes(defects.nifti_bytes(defects.image())) + bytes(64 * 2**20))
    assert path.stat().st_size < 2**17
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match="far more than its header declares"):
        read_nifti(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_few_trailing_bytes_are_a_finding(tmp_path: Path) -> None:
    path = defects.write_gz(tmp_path / "c.nii.gz", bytes(defects.nifti_bytes(defects.image())) + bytes(16))
    assert codes(read_nifti(path)) == ["nifti.trailing_bytes"]


def test_row42_row43_complex_and_colour(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array, word in ((np.ones((4, 4, 4), np.complex64), "complex"), (colour, "colour")):
        nib.save(nib.Nifti1Image(array, defects.AFFINE), tmp_path / "c.nii")
        with pytest.raises(FormatError, match=rf"case c: voxel type is not read.*{word}.*c\.nii"):
            read_nifti(tmp_path / "c.nii")


def test_row44_wide_integers(tmp_path: Path) -> None:
    array = defects.image(dtype="int32")
    array[0, 0, 0] = 2**24 + 1
    path = defects.save_nifti(tmp_path / "c.nii", array)
    volume = read_nifti(path)
    assert codes(volume) == ["image.wide_integers"]
    assert volume.array[0, 0, 0] == 2**24 + 1
    assert read_nifti(path, kind="label").array[0, 0, 0] == 2**24 + 1


def test_row49_labels(tmp_path: Path) -> None:
    array = np.zeros((4, 4, 4), np.float32)
    array[0], array[1] = 0.9999, 2.0
    volume = read_nifti(defects.save_nifti(tmp_path / "c.nii", array), kind="label")
    assert volume.array.dtype == np.uint8
    assert np.unique(volume.array).tolist() == [0, 1, 2]
    assert codes(volume) == ["label.rounded"]
    array[2, 3, 1] = 1.4
    with pytest.raises(LabelError, match=r"not whole numbers.*1.4 at voxel \(2, 3, 1\); 1 voxels off"):
        read_nifti(defects.save_nifti(tmp_path / "c.nii", array), kind="label")


def test_damaged_offset_and_scaling(tmp_path: Path) -> None:
    path = tmp_path / "c.nii"
    for byte, value, problem in ((108, np.nan, "voxel offset"), (108, 10.0, "voxel offset"), (116, np.inf, "scaling")):
        data = defects.nifti_bytes(defects.image())
        struct.pack_into("<f", data, 112, 2.0)
        struct.pack_into("<f", data, byte, value)
        path.write_bytes(data)
        with pytest.raises(FormatError, match=problem):
            read_nifti(path)


def test_fuzzed_headers_end_in_named_errors(tmp_path: Path) -> None:
    """Any damage of the header is read or refused with an error of this library, never with another exception."""
    rng, path = np.random.default_rng(0), tmp_path / "c.nii"
    whole = defects.nifti_bytes(defects.image())
    refused = 0
    for _ in range(500):
        data = bytearray(whole)
        for place in rng.integers(0, 352, rng.integers(1, 5)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_nifti(path)
        except (FormatError, GeometryError, IntensityError):
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("name", ["c.txt", "absent.nii"])
def test_other_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(FormatError, match="not a NIfTI file"):
        read_nifti(tmp_path / name)
