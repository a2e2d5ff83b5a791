"""A mask as a DICOM Segmentation that refers to the slices it was made from. Needs highdicom."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from medtl_monai import __version__
from medtl_monai.deploy.infer import Mask
from medtl_monai.errors import GeometryError, OutputError
from medtl_monai.io.atomic import atomic_write
from medtl_monai.io.dicom_header import SliceHeader
from medtl_monai.io.geometry import LPS_TO_RAS, spacing_of

SCHEME = "99MEDTL"  # private coding schemes begin with 99, DICOM PS3.16 section 8
SERIES_NUMBER = 9000  # above what scanners use
TYPE_1 = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
# Modules Patient and General Study, DICOM PS3.3 C.7.1.1 and C.7.2.1: may be empty, must be there.
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
OFF_GRID = 0.25  # voxels; the reader has checked the spacing, this only tells which slice is which
OFF_AXIS = 1e-2  # cosines


def slices_in_order(
    slices: Sequence[SliceHeader], affine: NDArray[np.float64], count: int, case: str | None = None
) -> list[Path]:
    """The files of slices 0 to count - 1 of a volume, found by their positions; copies and localizers are left out.

    Args:
        slices: headers of a series, in any order.
        affine: (4, 4) of the volume, RAS+ mm, as `read_dicom_series` gives it.
        count: how many slices the volume has.
        case: for the error.

    Raises:
        GeometryError: a slice of the volume has no file.
    """
    inverse = np.linalg.inv(affine)
    found: dict[int, Path] = {}
    axes = (LPS_TO_RAS[:3, :3] @ affine[:3, :2] / spacing_of(affine)[:2]).T.ravel()
    for header in slices:
        if header.is_localizer or len(header.position) != 3 or not np.allclose(header.orientation, axes, atol=OFF_AXIS):
            continue
        index = (inverse @ LPS_TO_RAS @ [*header.position, 1.0])[:3]
        number = round(float(index[2]))
        if np.abs(index - [0, 0, number]).max() <= OFF_GRID:
            found.setdefault(number, header.path)
    missing = [number for number in range(count) if number not in found]
    if missing:
        raise GeometryError("slices without a file", case=case, expected=f"{count} slices", got=f"none for {missing}")
    return [found[number] for number in range(count)]


def write_dicom_seg(mask: Mask, classes: Mapping[int, str], name: str, version: str, path: Path) -> None:
    """Write one binary DICOM Segmentation, all classes but 0 as segments, whole and read back, or not at all.

    Patient and study are those of the slices, as DICOM demands.

    Args:
        mask: with the headers of its slices.
        classes: value -> name, from 0, the background.
        name, version: of the model that made it.
        path: the file; its folder must exist.

    Raises:
        GeometryError: the slices of the mask cannot be found.
        OutputError: the slices lack what a DICOM Segmentation needs, or the file cannot be written whole.
    """
    files = slices_in_order(mask.slices, mask.affine, mask.labels.shape[2], mask.case)
    sources = [_source(file) for file in files]
    missing = sorted({keyword for source in sources for keyword in TYPE_1 if not source.get(keyword)})
    if missing:
        raise _refusal(mask.case, f"no {', '.join(missing)}")
    frames = np.ascontiguousarray(mask.labels.transpose(2, 1, 0))  # (slices, rows, columns)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom's warnings quote the patient's name
            segmentation = _segmentation(sources, frames, classes, name, version)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The texts of other errors may quote the patient's data.
        got = f"no {error.name}" if isinstance(error, AttributeError) else f"{type(error).__name__} from highdicom"
        raise _refusal(mask.case, got) from error
    uids = [source.SOPInstanceUID for source in sources]
    with atomic_write(path, check=lambda temporary: _compare(temporary, path, uids, frames)) as temporary:
        segmentation.save_as(temporary)


def _refusal(case: str, got: str) -> OutputError:
    remedy = "the slices need valid attributes of patient, study and frame of reference"
    return OutputError("no DICOM Segmentation of these slices", case=case, got=got, remedy=remedy)


def _source(path: Path) -> pydicom.Dataset:
    """A slice without its pixels. What anonymising tools drop, though DICOM wants it (type 2), is there and empty."""
    source = pydicom.dcmread(path, stop_before_pixels=True)
    for keyword in TYPE_2:
        if keyword not in source:
            setattr(source, keyword, "")
    if not source.get("SpecificCharacterSet"):  # empty: the default, which highdicom knows as an absent tag only
        source.pop("SpecificCharacterSet", None)
    return source


def _segmentation(
    sources: Sequence[Any], frames: NDArray[np.uint8], classes: Mapping[int, str], name: str, version: str
) -> Any:
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence(
        name=name[:64], version=version or "unknown", family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=value,
            segment_label=label[:64],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=CodedConcept(value=f"{name[:12]}-{value}", scheme_designator=SCHEME, meaning=label),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for value, label in classes.items()
        if value
    ]
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="MedTL-MONAI",
        manufacturer_model_name=name[:64],
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description="Research only",
        series_description=f"{name} (research only)"[:64],
    )


def _compare(temporary: Path, final: Path, uids: Sequence[str], frames: NDArray[np.uint8]) -> None:
    import highdicom as hd

    found = hd.seg.segread(temporary).get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    if not np.array_equal(found, frames):
        remedy = "check the disk; write to another folder"
        raise OutputError("file reads back differently", path=final, got="other voxels", remedy=remedy)
