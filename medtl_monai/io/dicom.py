"""A strict DICOM reader: one series of single-frame grey slices becomes one volume, or an error says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtl_monai.errors import FormatError, GeometryError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom_files import default_case_id, scan_folder
from medtl_monai.io.dicom_header import SliceHeader, read_slice_header
from medtl_monai.io.dicom_pixels import check_ct, inversion_finding, read_pixels, rescaled_stack
from medtl_monai.io.dicom_series import (
    check_geometry_tags,
    check_grey_single_frame,
    check_uniform,
    choose_series,
    drop_localizers,
)
from medtl_monai.io.geometry import slice_positions_affine
from medtl_monai.io.stack import check_even_spacing, check_straight, duplicate_groups, slice_distances
from medtl_monai.io.volume import Volume
from medtl_monai.io.voxels import check_image


def read_dicom_series(
    folder: str | PathLike[str], *, series_uid: str | None = None, case_id: str | None = None
) -> Volume:
    """Read one series from the files directly inside a folder.

    Args:
        folder: the folder; files that are not DICOM images are ignored with a Finding.
        series_uid: SeriesInstanceUID of the wanted series, where there are several.
        case_id: name of the case; by default ``series_`` and eight hex digits of the hash of the SeriesInstanceUID
            (of the first file, where that is blank).

    Returns:
        Volume with array (columns, rows, slices), affine (4, 4) in RAS+ mm; values after rescale (CT: HU), int16 or
        int32 where slope and intercept are whole numbers, else float32. Slices ascend along the slice normal.

    Raises:
        FormatError: no DICOM, several series, colour, multi-frame, damaged files, or no decoder.
        GeometryError: missing, duplicate, uneven, tilted or differently sized slices, or unknown position.
        IntensityError: CT that is not in HU, or an image without contrast.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FormatError("folder does not exist", case=case_id, path=place, expected="a folder with DICOM files")
    headers, findings = scan_folder(place)
    slices = choose_series(headers, series_uid, place)
    return _volume(slices, findings, place, case_id)


def read_dicom_file(path: str | PathLike[str], *, case_id: str | None = None) -> Volume:
    """Read one single-frame DICOM file as a volume of one slice; see `read_dicom_series`."""
    place = Path(path)
    if not place.is_file():
        raise FormatError("file does not exist", case=case_id, path=place, expected="a DICOM file")
    header = read_slice_header(place)
    if not header.is_image:
        got = header.sop_class
        raise FormatError("DICOM file holds no image", case=case_id, path=place, expected="an image", got=got)
    return _volume([header], [], place, case_id)


def _volume(slices: Sequence[SliceHeader], findings: list[Finding], path: Path, case_id: str | None) -> Volume:
    case = case_id if case_id is not None else default_case_id(slices)
    check_grey_single_frame(slices, case=case, path=path)
    check_geometry_tags(slices, case=case, path=path)
    kept, localizer_findings = drop_localizers(slices, case=case, path=path)
    uniform_findings = check_uniform(kept, case=case, path=path)
    kept, duplicate_findings = _drop_duplicates(kept, case=case, path=path)
    ordered = sorted(kept, key=lambda header: float(slice_distances(kept[0].orientation, header.position)[0]))
    affine, affine_findings = _affine(ordered, case=case, path=path)
    array = rescaled_stack([read_pixels(header, case=case) for header in ordered], ordered)
    check_ct(ordered, array, case=case, path=path)
    value_findings = check_image(array, case=case, path=path)
    every = [
        *findings,
        *localizer_findings,
        *uniform_findings,
        *duplicate_findings,
        *affine_findings,
        *inversion_finding(ordered, case),
        *value_findings,
    ]
    named = tuple(replace(finding, case=case) for finding in every)
    return Volume(array, affine, case, ordered[0].modality or None, named)


def _drop_duplicates(slices: list[SliceHeader], *, case: str, path: Path) -> tuple[list[SliceHeader], list[Finding]]:
    distances = slice_distances(slices[0].orientation, [header.position for header in slices])
    dropped: set[int] = set()
    clashes = []
    for group in duplicate_groups(distances):
        first, *others = group
        differing = [other for other in others if not _same_image(slices[first], slices[other], case)]
        dropped.update(set(others) - set(differing))
        if differing:
            names = ", ".join(slices[index].path.name for index in (first, *differing))
            clashes.append(f"{distances[first]:.4g} mm ({names})")
    if clashes:
        raise GeometryError(
            "different slices at one position",
            case=case,
            path=path,
            expected="one slice per position",
            got=f"{len(clashes)} positions: {'; '.join(clashes[:3])}{' ...' if len(clashes) > 3 else ''}",
            remedy="split time points, echoes or b-values into folders of their own",
        )
    if not dropped:
        return slices, []
    names = ", ".join(slices[index].path.name for index in sorted(dropped)[:5])
    message = f"{len(dropped)} slices are identical copies: {names}"
    kept = [header for index, header in enumerate(slices) if index not in dropped]
    return kept, [Finding("dicom.duplicate_slice", "warning", message, "dropped", case)]


def _same_image(first: SliceHeader, second: SliceHeader, case: str) -> bool:
    if (first.slope, first.intercept) != (second.slope, second.intercept):
        return False
    if not np.allclose(first.position, second.position, rtol=0, atol=1e-3):
        return False
    return bool(np.array_equal(read_pixels(first, case=case), read_pixels(second, case=case)))


def _affine(slices: Sequence[SliceHeader], *, case: str, path: Path) -> tuple[NDArray[np.float64], list[Finding]]:
    head = slices[0]
    positions = [header.position for header in slices]
    if len(slices) > 1:
        check_even_spacing(slice_distances(head.orientation, positions), case=case, path=path)
        check_straight(head.orientation, positions, head.pixel_spacing, case=case, path=path)
        return slice_positions_affine(head.orientation, positions, head.pixel_spacing), []
    if head.thickness is None or head.thickness <= 0:
        raise GeometryError(
            "one slice without thickness",
            case=case,
            path=path,
            expected="SliceThickness in mm",
            got="absent" if head.thickness is None else head.thickness,
            remedy="use the whole series",
        )
    affine = slice_positions_affine(head.orientation, positions, head.pixel_spacing, single_step_mm=head.thickness)
    message = f"one slice; spacing {head.thickness:g} mm assumed from SliceThickness"
    return affine, [Finding("dicom.single_slice", "warning", message, "use the whole series for 3-D work", case)]
