"""From the DICOM slices of a folder to one series that forms one volume; everything else is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medtl_monai.errors import DataError, FormatError, GeometryError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom_header import SliceHeader

Slices = Sequence[SliceHeader]

ORIENTATION_ATOL = 1e-3  # cosines of one orientation differ by rounding only; 1e-3 is 0.06 degree
MAJORITY = 2 / 3  # share of the slices that must have one orientation before the rest counts as localizer
GREY = ("MONOCHROME1", "MONOCHROME2")
MAX_NAMED = 5


def choose_series(slices: Slices, series_uid: str | None, folder: Path) -> list[SliceHeader]:
    """The slices of the wanted series, or of the only one.

    Raises:
        FormatError: several series and none named, or the named one is absent; lists every series.
    """
    counts = Counter(header.series_uid for header in slices)
    wanted = series_uid if series_uid is not None else next(iter(counts))
    if wanted in counts and (series_uid is not None or len(counts) == 1):
        return [header for header in slices if header.series_uid == wanted]
    modality = {header.series_uid: header.modality or "?" for header in slices}
    listing = "; ".join(
        f"series {n}: {modality[uid]}, {count} slices, uid {uid}" for n, (uid, count) in enumerate(counts.items(), 1)
    )
    raise FormatError(
        "folder holds more than one series" if series_uid is None else "this series is not in the folder",
        path=folder,
        expected="one series" if series_uid is None else series_uid,
        got=listing,
        remedy="choose one with series_uid=",
    )


def _names(slices: Slices) -> str:
    more = f" and {len(slices) - MAX_NAMED} more" if len(slices) > MAX_NAMED else ""
    return ", ".join(header.path.name for header in slices[:MAX_NAMED]) + more


def check_grey_single_frame(slices: Slices, *, case: str, path: Path) -> None:
    """Refuse multi-frame and colour images and modality look-up tables.

    Raises:
        FormatError: with SOP class or photometric interpretation.
    """
    checks: list[tuple[Callable[[SliceHeader], bool], str, str, Callable[[SliceHeader], str], str]] = [
        (
            lambda h: h.frames > 1 or "Enhanced" in h.sop_class,
            "multi-frame DICOM is not read",
            "one frame per file",
            lambda h: f"{h.sop_class}, {h.frames} frames",
            "convert it to single-frame DICOM or to NIfTI",
        ),
        (
            lambda h: h.samples != 1 or h.photometric not in GREY,
            "not a grey-value image",
            " or ".join(GREY),
            lambda h: f"photometric interpretation {h.photometric or 'absent'}, {h.samples} samples per pixel",
            "export the original grey-value series",
        ),
        (
            lambda h: h.has_lut,
            "a modality look-up table is not applied",
            "rescale slope and intercept",
            lambda h: "ModalityLUTSequence",
            "export the series with rescale slope and intercept",
        ),
    ]
    for is_bad, problem, expected, describe, remedy in checks:
        bad = [header for header in slices if is_bad(header)]
        if bad:
            got = f"{describe(bad[0])} in {len(bad)} of {len(slices)} files ({_names(bad)})"
            raise FormatError(problem, case=case, path=path, expected=expected, got=got, remedy=remedy)


def check_geometry_tags(slices: Slices, *, case: str, path: Path) -> None:
    """Refuse slices without position, orientation or pixel spacing, and impossible values of these.

    Raises:
        GeometryError: every tag concerned, with the number of files.
    """
    tags = {
        "ImageOrientationPatient": [h for h in slices if not _is_orthonormal(h.orientation)],
        "ImagePositionPatient": [h for h in slices if not h.position],
        "PixelSpacing": [h for h in slices if not h.pixel_spacing or min(h.pixel_spacing) <= 0],
    }
    bad = [f"{tag} in {len(found)} of {len(slices)} files ({_names(found)})" for tag, found in tags.items() if found]
    if not bad:
        return
    raise GeometryError(
        "position in space is unknown",
        case=case,
        path=path,
        expected="orientation (two unit vectors at right angles), position and positive pixel spacing in every file",
        got="absent or impossible: " + "; ".join(bad),
        remedy="use the original series, not a secondary capture",
    )


def _is_orthonormal(cosines: tuple[float, ...]) -> bool:
    if not cosines:
        return False
    axes = np.asarray(cosines).reshape(2, 3)
    return bool(np.allclose(axes @ axes.T, np.eye(2), atol=ORIENTATION_ATOL))


def drop_localizers(slices: Slices, *, case: str, path: Path) -> tuple[list[SliceHeader], list[Finding]]:
    """The slices of the main orientation, without localizers, and a Finding that counts the dropped ones.

    Raises:
        GeometryError: no orientation has more than `MAJORITY` of the slices.
    """
    kept = [header for header in slices if not header.is_localizer] or list(slices)
    groups = _by_orientation(kept)
    main = max(groups, key=len)
    if len(main) <= MAJORITY * len(kept):
        raise GeometryError(
            "slices have several orientations",
            case=case,
            path=path,
            expected=f"more than {MAJORITY:.0%} of the slices in one orientation",
            got=f"groups of {', '.join(str(len(group)) for group in groups)} slices",
            remedy="put each orientation into a folder of its own",
        )
    main_paths = {header.path for header in main}
    dropped = [header for header in slices if header.path not in main_paths]
    if not dropped:
        return main, []
    message = f"{len(dropped)} localizer or differently oriented slices of {len(slices)}: {_names(dropped)}"
    return main, [Finding("dicom.localizer", "warning", message, "dropped", case)]


def _by_orientation(slices: Slices) -> list[list[SliceHeader]]:
    groups: list[list[SliceHeader]] = []
    for header in slices:
        for group in groups:
            if np.allclose(group[0].orientation, header.orientation, rtol=0, atol=ORIENTATION_ATOL):
                group.append(header)
                break
        else:
            groups.append([header])
    return groups


def check_uniform(slices: Slices, *, case: str, path: Path) -> list[Finding]:
    """Refuse slices that differ in matrix size, pixel spacing, photometric interpretation or presence of rescale tags.

    Returns:
        a Finding where the slices use several transfer syntaxes.

    Raises:
        GeometryError: different matrix sizes or pixel spacings, with the files of the rarer ones.
        FormatError: different photometric interpretations, modalities or rescale tags in some files only.
    """
    rules: list[tuple[str, type[DataError], Callable[[SliceHeader], object]]] = [
        ("matrix sizes (rows, columns)", GeometryError, lambda h: (h.rows, h.columns)),
        ("pixel spacings in mm", GeometryError, lambda h: tuple(round(value, 4) for value in h.pixel_spacing)),
        ("photometric interpretations", FormatError, lambda h: h.photometric),
        ("modalities", FormatError, lambda h: h.modality),
        ("rescale tags", FormatError, lambda h: "absent" if h.slope is None and h.intercept is None else "present"),
    ]
    for what, error, value_of in rules:
        _check_one(slices, what, error, value_of, case, path)
    syntaxes = sorted({header.transfer_syntax for header in slices})
    if len(syntaxes) < 2:
        return []
    message = f"{len(syntaxes)} transfer syntaxes: {', '.join(syntaxes)}"
    return [Finding("dicom.transfer_syntaxes", "info", message, "each slice decoded by its own", case)]


def _check_one(
    slices: Slices,
    what: str,
    error: type[DataError],
    value_of: Callable[[SliceHeader], object],
    case: str,
    path: Path,
) -> None:
    counts = Counter(value_of(header) for header in slices)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    found = ", ".join(f"{value} ({count} files)" for value, count in counts.most_common(MAX_NAMED))
    odd = [header for header in slices if value_of(header) != usual]
    raise error(
        f"slices have different {what}",
        case=case,
        path=path,
        expected="one for the whole series",
        got=f"{found}; odd: {_names(odd)}",
        remedy="take the odd files out or export the series again",
    )
