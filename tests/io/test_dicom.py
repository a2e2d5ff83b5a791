"""The DICOM reader: true to formula on whole series, and every planted defect refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import defects
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit, JPEGLSLossless, RLELossless, generate_uid

from medtl_monai.errors import DataError, FormatError, GeometryError, IntensityError
from medtl_monai.io.dicom import read_dicom_file, read_dicom_series
from medtl_monai.io.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom remarks on the damage that is planted


def codes(volume: Volume) -> list[str]:
    return [finding.code for finding in volume.findings]


def refused(folder: Path, error: type[DataError], match: str) -> str:
    with pytest.raises(error, match=match) as caught:
        read_dicom_series(folder)
    text = str(caught.value)
    assert "Canary" not in text
    assert "CANARY" not in text
    return text


@pytest.mark.parametrize("orientation", [defects.AXIAL, defects.CORONAL, (0.6, 0.8, 0, 0, 0, -1.0)])
def test_every_voxel_has_the_value_and_place_of_its_pixel(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    datasets = defects.series(orientation=orientation)
    volume = read_dicom_series(defects.save_series(datasets[::-1], tmp_path / "s"))
    assert (volume.array.shape, volume.array.dtype, volume.modality) == ((10, 8, 6), np.int16, "CT")
    normal = np.cross(orientation[:3], orientation[3:])
    row_axis, column_axis = np.array(orientation[:3]), np.array(orientation[3:])
    for number, ds in enumerate(datasets):
        stored = defects.pixels(8, 10, seed=number).astype(int) - 1024
        for row, column in ((0, 0), (3, 7), (7, 9)):
            lps = [-10, -20, 30] + number * 2.5 * normal + column * 0.7 * row_axis + row * 0.8 * column_axis
            index = np.linalg.solve(volume.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
            np.testing.assert_allclose(index, np.rint(index), atol=1e-5)
            assert volume.array[tuple(np.rint(index).astype(int))] == stored[row, column], ds.ImagePositionPatient
    assert volume.findings == ()


def test_default_case_name_is_a_hash_of_the_series(tmp_path: Path) -> None:
    datasets = defects.series()
    digest = hashlib.sha256(datasets[0].SeriesInstanceUID.encode()).hexdigest()[:8]
    assert read_dicom_series(defects.save_series(datasets, tmp_path / "s")).case_id == f"series_{digest}"
    assert read_dicom_series(tmp_path / "s", case_id="liver_017").case_id == "liver_017"


def test_blank_series_identifiers_do_not_share_one_name(tmp_path: Path) -> None:
    names = set()
    for number in range(2):
        datasets = defects.series()
        for ds in datasets:
            ds.SeriesInstanceUID = ""
        names.add(read_dicom_series(defects.save_series(datasets, tmp_path / str(number))).case_id)
    assert len(names) == 2


def test_row01_missing_slice(tmp_path: Path) -> None:
    datasets = defects.series()
    del datasets[3]
    folder = defects.save_series(datasets, tmp_path / "s")
    refused(
        folder, GeometryError, r"case series_\w{8}: 1 slice is missing; expected 2.5 mm.*5 mm between slices 3 and 4"
    )


def test_row02_duplicates(tmp_path: Path) -> None:
    datasets = defects.series()
    folder = defects.save_series([*datasets, datasets[2]], tmp_path / "same")
    volume = read_dicom_series(folder)
    assert (volume.array.shape[2], codes(volume)) == (6, ["dicom.duplicate_slice"])
    other = defects.series()[5]
    other.SeriesInstanceUID, other.ImagePositionPatient = (
        datasets[2].SeriesInstanceUID,
        datasets[2].ImagePositionPatient,
    )
    folder = defects.save_series([*datasets, other], tmp_path / "differ")
    refused(folder, GeometryError, r"different slices at one position.*35 mm \(im002.dcm, im006.dcm\)")


def test_row03_two_series(tmp_path: Path) -> None:
    first, second = defects.series(5), defects.series(4, modality="MR", rescale=None)
    folder = defects.save_series(first, tmp_path / "s")
    defects.save_series(second, folder, prefix="other")
    text = refused(folder, FormatError, r"more than one series.*CT, 5 slices.*MR, 4 slices.*series_uid=")
    assert first[0].SeriesInstanceUID in text
    assert read_dicom_series(folder, series_uid=second[0].SeriesInstanceUID).array.shape[2] == 4
    with pytest.raises(FormatError, match=r"this series is not in the folder.*CT, 5 slices"):
        read_dicom_series(folder, series_uid="1.2.3")


@pytest.mark.parametrize("tagged", [True, False])
def test_row04_localizer_is_dropped_with_a_finding(tmp_path: Path, tagged: bool) -> None:
    datasets = defects.series(7)
    scout = defects.slice_dataset(
        defects.pixels(16, 16),
        (0, 0, 0),
        series=datasets[0].SeriesInstanceUID,
        orientation=defects.CORONAL,
    )
    if tagged:
        scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    volume = read_dicom_series(defects.save_series([scout, *datasets], tmp_path / "s"))
    assert (volume.array.shape, codes(volume)) == ((10, 8, 7), ["dicom.localizer"])
    assert "1 localizer" in volume.findings[0].message


def test_row04_no_main_orientation(tmp_path: Path) -> None:
    datasets = defects.series(4) + defects.series(4, orientation=defects.CORONAL)
    for ds in datasets:
        ds.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    refused(defects.save_series(datasets, tmp_path / "s"), GeometryError, r"several orientations.*groups of 4, 4")


def test_row05_gantry_tilt(tmp_path: Path) -> None:
    datasets = defects.series()
    for number, ds in enumerate(datasets):
        ds.ImagePositionPatient[1] += number * 2.5 * np.tan(np.radians(12))
    refused(defects.save_series(datasets, tmp_path / "s"), GeometryError, r"gantry tilt.*angle of 12.00 degrees")


def test_row06_uneven_spacing(tmp_path: Path) -> None:
    datasets = defects.series()
    for ds in datasets[4:]:
        ds.ImagePositionPatient[2] += 1.0
    refused(defects.save_series(datasets, tmp_path / "s"), GeometryError, r"unevenly spaced.*2.5 to 3.5 mm.*4 and 5")


@pytest.mark.parametrize("tag", ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"])
def test_row07_unknown_position(tmp_path: Path, tag: str) -> None:
    datasets = defects.series()
    for ds in datasets[:2]:
        delattr(ds, tag)
    refused(defects.save_series(datasets, tmp_path / "s"), GeometryError, f"position in space.*{tag} in 2 of 6 files")


def test_row07_all_missing_tags_are_named_at_once(tmp_path: Path) -> None:
    datasets = defects.series(1)
    del datasets[0].PixelSpacing
    datasets[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    folder = defects.save_series(datasets, tmp_path / "s")
    refused(folder, GeometryError, r"ImageOrientationPatient in 1 of 1.*PixelSpacing in 1 of 1")


def multi_frame(ds: Dataset) -> None:
    ds.SOPClassUID = defects.ENHANCED_CT_CLASS
    ds.NumberOfFrames = 3
    ds.PixelData = ds.PixelData * 3


def look_up_table(ds: Dataset) -> None:
    ds.ModalityLUTSequence = [Dataset()]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (multi_frame, "multi-frame.*Enhanced CT Image Storage, 3 frames"),
        (defects.colour, r"not a grey-value image.*photometric interpretation RGB, 3 samples.*6 of 6"),
        (look_up_table, "look-up table"),
    ],
)
def test_row08_row09_row10_other_kinds(tmp_path: Path, change: Callable[[Dataset], None], match: str) -> None:
    datasets = defects.series()
    for ds in datasets:
        change(ds)
    folder = defects.save_series(datasets, tmp_path / "s")
    refused(folder, FormatError, match)
    with pytest.raises(FormatError, match=match.replace("6 of 6", "1 of 1")):
        read_dicom_file(folder / "im000.dcm")


def test_row11_inverted_mr_is_mirrored_and_inverted_ct_refused(tmp_path: Path) -> None:
    for modality in ("MR", "CT"):
        datasets = defects.series(modality=modality)
        for ds in datasets:
            ds.PhotometricInterpretation, ds.BitsStored, ds.HighBit = "MONOCHROME1", 12, 11
        defects.save_series(datasets, tmp_path / modality)
    volume = read_dicom_series(tmp_path / "MR")
    np.testing.assert_array_equal(volume.array[:, :, 0], (4095 - defects.pixels(8, 10, seed=0).astype(int)).T - 1024)
    assert codes(volume) == ["dicom.monochrome1"]
    refused(tmp_path / "CT", IntensityError, r"stored inverted.*got MONOCHROME1")


def test_row12_ct_without_rescale(tmp_path: Path) -> None:
    folder = defects.save_series(defects.series(rescale=None), tmp_path / "ct")
    refused(folder, IntensityError, r"not Hounsfield units.*no rescale tags, minimum 0, maximum 2000")
    folder = defects.save_series(defects.series(rescale=None, modality="MR"), tmp_path / "mr")
    assert read_dicom_series(folder).array.max() == 2000


def test_rescale_in_some_slices_only(tmp_path: Path) -> None:
    datasets = defects.series()
    del datasets[2].RescaleSlope, datasets[2].RescaleIntercept
    refused(defects.save_series(datasets, tmp_path / "s"), FormatError, r"different rescale tags.*odd: im002.dcm")


def test_row13_slope_only(tmp_path: Path) -> None:
    datasets = defects.series(modality="MR")
    for ds in datasets:
        ds.RescaleSlope = "2"
        del ds.RescaleIntercept
    assert read_dicom_series(defects.save_series(datasets, tmp_path / "s")).array.max() == 4000


def test_row14_slope_per_slice(tmp_path: Path) -> None:
    datasets = defects.series(modality="PT")
    for number, ds in enumerate(datasets):
        ds.RescaleSlope, ds.RescaleIntercept = f"{0.5 + number}", "1.25"
    volume = read_dicom_series(defects.save_series(datasets, tmp_path / "s"))
    assert volume.array.dtype == np.float32
    for number in range(6):
        expected = defects.pixels(8, 10, seed=number).T * (0.5 + number) + 1.25
        np.testing.assert_allclose(volume.array[:, :, number], expected, rtol=1e-6)


def test_row15_no_overflow(tmp_path: Path) -> None:
    datasets = defects.series(2, modality="MR", rescale=(10, 0))
    for ds in datasets:
        ds.PixelData = defects.pixels(8, 10, top=60000).tobytes()
    volume = read_dicom_series(defects.save_series(datasets, tmp_path / "s"))
    assert (volume.array.dtype, volume.array.max()) == (np.int32, 600000)


def test_row16_different_sizes(tmp_path: Path) -> None:
    datasets = defects.series()
    wrong = datasets[4]
    wrong.Rows, wrong.Columns, wrong.PixelData = 4, 5, defects.pixels(4, 5).tobytes()
    folder = defects.save_series(datasets, tmp_path / "s")
    refused(folder, GeometryError, r"different matrix sizes.*\(8, 10\) \(5 files\), \(4, 5\) \(1 files\).*im004.dcm")


def test_row16_different_pixel_spacing(tmp_path: Path) -> None:
    datasets = defects.series()
    datasets[1].PixelSpacing = [0.8, 0.9]
    refused(defects.save_series(datasets, tmp_path / "s"), GeometryError, r"different pixel spacings.*odd: im001.dcm")


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("victim", ["im003.dcm", "im005.dcm"])
def test_row17_truncated_slice_is_named_wherever_it_is_cut(tmp_path: Path, syntax: str | None, victim: str) -> None:
    datasets = defects.series(rows=64, columns=64)
    if syntax is not None:
        for ds in datasets:
            ds.compress(syntax, generate_instance_uid=False)
    folder = defects.save_series(datasets, tmp_path / "s")
    whole = (folder / victim).read_bytes()
    for kept in (len(whole) - 40, len(whole) // 2, *range(0, 900, 19)):
        (folder / victim).write_bytes(whole[:kept])
        refused(folder, FormatError, victim)


def test_row17_truncation_tells_the_bytes(tmp_path: Path) -> None:
    path = defects.save(defects.series(1)[0], tmp_path / "a.dcm")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-41])
    with pytest.raises(FormatError, match=rf"cut short: {size - 41} bytes where {size} are declared.*a\.dcm"):
        read_dicom_file(path)


def test_row17_pixel_data_shorter_than_the_matrix(tmp_path: Path) -> None:
    ds = defects.series(1)[0]
    ds.PixelData = ds.PixelData[:-40]
    with pytest.raises(FormatError, match=r"expected 160 bytes of pixels, got 120 bytes.*a\.dcm"):
        read_dicom_file(defects.save(ds, tmp_path / "a.dcm"))


def test_row17_truncated_codestream_is_not_decoded_in_part(tmp_path: Path) -> None:
    for number, syntax in enumerate((RLELossless, JPEG2000Lossless)):
        ds = defects.series(1, rows=64, columns=64)[0]
        ds.compress(syntax, generate_instance_uid=False)
        stream = next(generate_frames(ds.PixelData, number_of_frames=1))
        ds.PixelData = encapsulate([stream[:-100]])
        ds["PixelData"].is_undefined_length = True
        with pytest.raises(FormatError, match=f"damaged or cut short; expected pixels in .*{syntax}"):
            read_dicom_file(defects.save(ds, tmp_path / f"{number}.dcm"))


def test_row18_other_files_are_ignored_with_their_names(tmp_path: Path) -> None:
    folder = defects.save_series(defects.series(), tmp_path / "s")
    (folder / "Thumbs.db").write_bytes(b"x" * 300)
    note = defects.series(1)[0]
    note.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    del note.Rows, note.Columns, note.PixelData
    defects.save(note, folder / "report.dcm")
    volume = read_dicom_series(folder)
    assert codes(volume) == ["dicom.other_files", "dicom.no_image"]
    assert "Thumbs.db" in volume.findings[0].message
    assert {finding.case for finding in volume.findings} == {volume.case_id}


def test_row19_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, FormatError, "no DICOM images in this folder.*0 files")
    refused(tmp_path / "absent", FormatError, "folder does not exist")


def test_row20_single_slice(tmp_path: Path) -> None:
    folder = defects.save_series(defects.series(1), tmp_path / "s")
    for volume in (read_dicom_series(folder), read_dicom_file(folder / "im000.dcm")):
        assert (volume.array.shape, codes(volume)) == ((10, 8, 1), ["dicom.single_slice"])
        np.testing.assert_allclose(volume.spacing, [0.7, 0.8, 2.5])
    ds = defects.series(1)[0]
    del ds.SliceThickness
    with pytest.raises(GeometryError, match="one slice without thickness"):
        read_dicom_file(defects.save(ds, tmp_path / "thin.dcm"))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_row22_row24_compressed_slices_decode_equal(tmp_path: Path, syntax: str) -> None:
    datasets = defects.series(rows=64, columns=64)
    plain = read_dicom_series(defects.save_series(datasets, tmp_path / "plain"))
    for ds in datasets[::2]:
        ds.compress(syntax, generate_instance_uid=False)
    mixed = read_dicom_series(defects.save_series(datasets, tmp_path / "mixed"))
    np.testing.assert_array_equal(mixed.array, plain.array)
    assert codes(mixed) == ["dicom.transfer_syntaxes"]


@pytest.mark.parametrize(
    ("syntax", "name"),
    [(JPEGLSLossless, "JPEG-LS Lossless"), (JPEGExtended12Bit, "JPEG Extended"), ("1.2.840.10008.1.2.4.100", "MPEG2")],
)
def test_row23_no_decoder_or_undecodable_names_the_transfer_syntax(tmp_path: Path, syntax: str, name: str) -> None:
    datasets = [defects.undecodable(ds, syntax) for ds in defects.series()]
    refused(defects.save_series(datasets, tmp_path / "s"), FormatError, f"{name}.*im000.dcm")


def test_row25_dicomdir_is_not_followed(tmp_path: Path) -> None:
    folder = defects.save_series(defects.series(), tmp_path / "s")
    outside = defects.save_series(defects.series(1), tmp_path / "outside")
    index = defects.series(1)[0]
    index.SOPClassUID = "1.2.840.10008.1.3.10"  # Media Storage Directory
    del index.Rows, index.Columns, index.PixelData
    index.ReferencedFileID = ["..", "outside", "im000.dcm"]
    defects.save(index, folder / "DICOMDIR")
    volume = read_dicom_series(folder)
    assert (volume.array.shape[2], codes(volume)) == (6, ["dicom.no_image"])
    assert outside.is_dir()


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    folder = defects.save_series(defects.series(), tmp_path / "s")
    victim = folder / "im002.dcm"
    victim.write_bytes(victim.read_bytes().replace(b"-20.000000", b"-2O.0zz000"))
    refused(folder, FormatError, r"headers cannot be read.*im002.dcm")


def test_constant_image_is_refused(tmp_path: Path) -> None:
    datasets = defects.series()
    for ds in datasets:
        ds.PixelData = bytes(len(ds.PixelData))
    refused(defects.save_series(datasets, tmp_path / "s"), IntensityError, "no foreground.*minimum -1024")


def test_not_a_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"<html>")
    with pytest.raises(FormatError, match="not a DICOM file"):
        read_dicom_file(tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="file does not exist"):
        read_dicom_file(tmp_path / "b.dcm")


def test_fuzzed_files_end_in_named_errors(tmp_path: Path) -> None:
    ds = defects.slice_dataset(defects.pixels(8, 10), (0, 0, 0), series=generate_uid())
    path = defects.save(ds, tmp_path / "a.dcm")
    whole, rng, refusals = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(132, len(whole) - 160, rng.integers(1, 6)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_dicom_file(path)
        except DataError:
            refusals += 1
    assert refusals > 50
