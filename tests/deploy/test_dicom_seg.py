"""Masks as DICOM Segmentations: which slice is which, and what is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from seg_file import labels_on_grid

from medtl_monai.deploy.dicom_seg import slices_in_order, write_dicom_seg
from medtl_monai.deploy.infer import Mask, dicom_slices
from medtl_monai.errors import GeometryError, OutputError
from medtl_monai.io.dicom import read_dicom_series

CLASSES = {0: "background", 1: "one", 2: "two", 3: "three"}


@pytest.fixture
def mask(series: Path) -> Mask:
    """Random labels; class 2 in one voxel only, class 3 nowhere, and slices without any."""
    volume = read_dicom_series(series)
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[:, :, 5:30] = np.random.default_rng(0).random(labels[:, :, 5:30].shape) < 0.3
    labels[1, 2, 3] = 2
    return Mask(labels, volume.affine, "made_up", dicom_slices(series))


def test_slices_are_found_by_position_whatever_their_names(mask: Mask) -> None:
    shuffled = list(mask.slices)[::-1]
    copied = replace(shuffled[3], path=Path("copy.dcm"))
    localizer = replace(shuffled[4], path=Path("localizer.dcm"), is_localizer=True)
    turned = replace(shuffled[5], path=Path("turned.dcm"), orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    found = slices_in_order([localizer, turned, *shuffled, copied], mask.affine, mask.labels.shape[2])
    heights = [float(pydicom.dcmread(path).ImagePositionPatient[1]) for path in found]
    assert len(found) == mask.labels.shape[2]
    steps = np.diff(heights)
    assert np.allclose(np.abs(steps), 1.1)
    assert len(set(np.sign(steps))) == 1
    volume = read_dicom_series(found[0].parent)
    for number in (0, 7, len(found) - 1):
        assert np.array_equal(pydicom.dcmread(found[number]).pixel_array, volume.array[:, :, number].T)


def test_a_slice_without_file_is_refused(mask: Mask) -> None:
    with pytest.raises(GeometryError, match="slices without a file"):
        slices_in_order(mask.slices[:-1], mask.affine, mask.labels.shape[2])


def test_every_voxel_arrives_at_its_place(mask: Mask, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")
    path = tmp_path / "made_up_seg.dcm"
    write_dicom_seg(mask, CLASSES, "a_bundle", "1.0", path)
    assert np.array_equal(labels_on_grid(path, mask.affine, mask.labels.shape), mask.labels)
    assert [segment.SegmentLabel for segment in pydicom.dcmread(path).SegmentSequence] == ["one", "two", "three"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_empty_mask_is_a_result_too(mask: Mask, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")
    write_dicom_seg(replace(mask, labels=np.zeros_like(mask.labels)), CLASSES, "a", "", tmp_path / "seg.dcm")
    assert not labels_on_grid(tmp_path / "seg.dcm", mask.affine, mask.labels.shape).any()


def edited(mask: Mask, folder: Path, edit: Callable[[pydicom.Dataset], None]) -> Mask:
    """The mask with changed copies of its slices."""
    moved = []
    for header in mask.slices:
        dataset = pydicom.dcmread(header.path)
        edit(dataset)
        dataset.save_as(folder / header.path.name)
        moved.append(replace(header, path=folder / header.path.name))
    (folder / "out").mkdir()
    return replace(mask, slices=tuple(moved))


def test_slices_without_frame_of_reference_are_refused(mask: Mask, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")
    without = edited(mask, tmp_path, lambda dataset: dataset.pop("FrameOfReferenceUID"))
    with pytest.raises(OutputError, match=r"case made_up: no DICOM Segmentation.*no FrameOfReferenceUID"):
        write_dicom_seg(without, CLASSES, "a", "1", tmp_path / "out" / "seg.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_anonymising_tools_drop_is_written_empty(mask: Mask, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")

    def drop(dataset: pydicom.Dataset) -> None:
        dataset.pop("PatientBirthDate")
        dataset.pop("AccessionNumber")
        dataset.SpecificCharacterSet = ""

    path = tmp_path / "out" / "seg.dcm"
    write_dicom_seg(edited(mask, tmp_path, drop), CLASSES, "a", "1", path)
    written = pydicom.dcmread(path)
    assert not written.PatientBirthDate  # there, and empty
    assert not written.AccessionNumber
    assert written.PatientID == "PHANTOM-0081"


def test_nothing_said_quotes_the_patient(mask: Mask, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")

    def one_word(dataset: pydicom.Dataset) -> None:
        dataset.PatientName = "QUOTABLE"
        dataset.PatientSex = "QUOTABLE"

    given = edited(mask, tmp_path, one_word)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(OutputError) as refusal:
            write_dicom_seg(given, CLASSES, "a", "1", tmp_path / "out" / "seg.dcm")
    texts = [str(refusal.value), *(str(one.message) for one in said), *capfd.readouterr()]
    assert not any("quotable" in text.lower() for text in texts)


def test_real_series_with_the_headers_of_real_scanners(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")
    for number, name in enumerate(("brain_mr_dicom/hippocampus_crop", "ct_with_dicom_seg/ct")):
        volume = read_dicom_series(real_data / name)
        labels = (volume.array > np.percentile(volume.array, 95)).astype(np.uint8)
        labels[3:9, 3:9, 1:3] = 2
        mask = Mask(labels, volume.affine, volume.case_id, dicom_slices(real_data / name))
        write_dicom_seg(mask, CLASSES, "a", "1", tmp_path / f"{number}.dcm")
        assert np.array_equal(labels_on_grid(tmp_path / f"{number}.dcm", volume.affine, labels.shape), labels)


def test_a_failed_write_leaves_the_older_file(mask: Mask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    highdicom = pytest.importorskip("highdicom", reason="DICOM Segmentations need highdicom")
    path = tmp_path / "seg.dcm"
    write_dicom_seg(mask, CLASSES, "a", "1", path)
    before = path.read_bytes()
    save = highdicom.seg.Segmentation.save_as

    def spoilt(self: pydicom.Dataset, target: Path) -> None:
        self.PixelData = bytes(len(self.PixelData))
        save(self, target)

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", spoilt)
    with pytest.raises(OutputError, match="reads back differently"):
        write_dicom_seg(mask, CLASSES, "a", "1", path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["seg.dcm"]
