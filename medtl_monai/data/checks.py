"""Checks of a data set before training: every case is really read, and all bad cases are reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medtl_monai.data.datalist import SPLITS, Datalist
from medtl_monai.data.fingerprint import voxel_fingerprint
from medtl_monai.errors import DataError, FormatError, GeometryError, IntensityError, LabelError
from medtl_monai.findings import Finding
from medtl_monai.io.dicom import read_dicom_series
from medtl_monai.io.geometry import same_grid, show
from medtl_monai.io.nifti import read_nifti
from medtl_monai.io.volume import Volume

MOST_LISTED = 20
_KINDS = {FormatError: "format", GeometryError: "geometry", IntensityError: "intensity", LabelError: "label"}


def check_case(case: Mapping[str, str], label_values: Iterable[int]) -> list[Finding]:
    """Read image and label of one case and compare them.

    Args:
        case: ``{"image": path, "label": path, "case": name}``, NIfTI files; the image may be a folder with a DICOM
            series, and its label then may run along other axes of the same grid, as converters turn it.
        label_values: the label values that the task knows, background included.

    Returns:
        Findings, first those of the readers. Errors have the codes ``image.missing``, ``label.missing``,
        ``KIND.unreadable`` (KIND: format, geometry, intensity, label, data), ``geometry.shape``, ``geometry.affine``
        and ``label.unexpected_value``; ``label.no_foreground`` is a warning. Texts hold file names, no folders.
    """
    return read_case(case, label_values)[2]


def read_case(
    case: Mapping[str, str], label_values: Iterable[int]
) -> tuple[Volume | None, Volume | None, list[Finding]]:
    """Image, label (None where it cannot be read) and findings of one case; see `check_case`."""
    name = case["case"]
    image, findings = read_scan(case, "image")
    label, label_findings = read_scan(case, "label")
    findings += label_findings
    if label is not None:
        findings += _value_findings(label.array, set(label_values), name)
    if image is not None and label is not None:
        findings += _grid_findings(image, label, name, turned=Path(case["image"]).is_dir())
    return image, label, findings


def check_cases(cases: Iterable[Mapping[str, str]], label_values: Iterable[int]) -> list[Finding]:
    """`check_case` for every case, in their order."""
    values = tuple(label_values)
    return [finding for case in cases for finding in check_case(case, values)]


def require_valid_cases(cases: Iterable[Mapping[str, str]], label_values: Iterable[int]) -> list[Finding]:
    """`check_cases`, and refuse if any case has an error.

    Returns:
        The remaining findings (info and warnings).

    Raises:
        LabelError: all errors are about labels.
        GeometryError: all errors are about geometry.
        DataError: otherwise. In each case one error for all cases; it lists the first `MOST_LISTED` bad ones.
    """
    rows = list(cases)
    findings = check_cases(rows, label_values)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise _one_error(errors, len(rows))
    return findings


def check_leakage(datalist: Datalist, dataset_dir: str | PathLike[str]) -> list[Finding]:
    """Look for images with the same voxels in two splits, whatever their names, file types and headers.

    A copy that was flipped, cropped or rescaled is not found.

    Returns:
        One error ``leakage.same_voxels`` for each set of equal images that spans splits; the error findings of images
        that cannot be read.
    """
    root = Path(dataset_dir)
    findings: list[Finding] = []
    places: dict[str, list[tuple[str, str]]] = {}
    for split in SPLITS:
        for case in datalist.splits[split]:
            volume, problems = read_scan({"case": case.case, "image": str(root / case.image)}, "image")
            findings += [finding for finding in problems if finding.severity == "error"]
            if volume is not None:
                places.setdefault(voxel_fingerprint(volume.array), []).append((split, case.case))
    return findings + [_leak(same) for same in places.values() if len({split for split, _ in same}) > 1]


def _leak(same: Sequence[tuple[str, str]]) -> Finding:
    where = ", ".join(f"{case} ({split})" for split, case in same)
    remedy = "keep one of them, or put them in one split as one patient"
    return Finding(
        "leakage.same_voxels", "error", f"the same voxels in more than one split: {where}", remedy, same[0][1]
    )


def read_scan(case: Mapping[str, str], key: Literal["image", "label"]) -> tuple[Volume | None, list[Finding]]:
    """Image or label of one case, None where it cannot be read, and the findings; see `check_case`."""
    name, path = case["case"], case.get(key)
    series = key == "image" and bool(path) and Path(str(path)).is_dir()
    if not path or not (series or Path(path).is_file()):
        found = f"no file {Path(path).name}" if path else "none is named"
        return None, [Finding(f"{key}.missing", "error", f"{key} file is missing: {found}", "add the file", name)]
    try:
        volume = read_dicom_series(path, case_id=name) if series else read_nifti(path, kind=key, case_id=name)
    except DataError as error:
        code = f"{_KINDS.get(type(error), 'data')}.unreadable"
        return None, [Finding(code, "error", f"{key} {Path(path).name}: {_text(error)}", error.remedy or "", name)]
    return volume, list(volume.findings)


def _text(error: DataError) -> str:
    """The error without case and folder: a finding carries the case itself and must not tell where the data lie."""
    values = [
        f"{word} {value}" for word, value in (("expected", error.expected), ("got", error.got)) if value is not None
    ]
    return "; ".join([error.problem, *values])


def _value_findings(labels: NDArray[np.generic], known: set[int], case: str) -> list[Finding]:
    counts = _value_counts(labels)
    unexpected = {value: count for value, count in counts.items() if value not in known}
    findings = []
    if unexpected:
        listed = ", ".join(f"{value} ({count} voxels)" for value, count in sorted(unexpected.items())[:MOST_LISTED])
        listed += f" and {len(unexpected) - MOST_LISTED} more" if len(unexpected) > MOST_LISTED else ""
        message = f"unexpected label values {listed}; expected only {sorted(known)}"
        remedy = "correct the label, or add the value to the task's labels"
        findings.append(Finding("label.unexpected_value", "error", message, remedy, case))
    if not any(value > 0 for value in counts):
        remedy = "check that the object is really absent"
        findings.append(Finding("label.no_foreground", "warning", "the label has no foreground", remedy, case))
    return findings


def _value_counts(labels: NDArray[np.generic]) -> dict[int, int]:
    flat = labels.ravel(order="K")
    if flat.dtype.kind == "u" and flat.dtype.itemsize <= 2:
        counts = np.bincount(flat)  # no sorting: some 50 times faster than unique on a whole CT
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, numbers = np.unique(flat, return_counts=True)
    return {int(value): int(number) for value, number in zip(values, numbers, strict=True)}


def _grid_findings(image: Volume, label: Volume, case: str, *, turned: bool) -> list[Finding]:
    shapes = image.array.shape, label.array.shape
    if turned and same_grid(*_canonical(image), *_canonical(label)):
        return []
    if shapes[0] != shapes[1]:
        message = f"image and label have different shapes: image {shapes[0]}, label {shapes[1]}"
        return [Finding("geometry.shape", "error", message, "resample the label to the image's grid", case)]
    if not same_grid(image.affine, shapes[0], label.affine, shapes[1]):
        message = f"image and label have different affines: image {show(image.affine)}, label {show(label.affine)}"
        return [Finding("geometry.affine", "error", message, "resample the label to the image's grid", case)]
    return []


def _canonical(volume: Volume) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Affine and shape of the same voxels with their axes nearest to right, anterior, superior."""
    turn = nib.orientations.io_orientation(volume.affine)
    shape = [0, 0, 0]
    for axis, length in enumerate(volume.array.shape):
        shape[int(turn[axis, 0])] = length
    return volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.array.shape), tuple(shape)


def _one_error(errors: Sequence[Finding], total: int) -> DataError:
    by_case: dict[str, list[Finding]] = {}
    for finding in errors:
        by_case.setdefault(finding.case or "", []).append(finding)
    lines = [f"case {case}: {'; '.join(f.message for f in found)}" for case, found in by_case.items()]
    if len(lines) > MOST_LISTED:
        lines = [*lines[:MOST_LISTED], f"and {len(lines) - MOST_LISTED} more cases"]
    text = "\n  ".join([f"{len(by_case)} of {total} cases cannot be used:", *lines])
    remedies = list(dict.fromkeys(finding.remedy for finding in errors if finding.remedy))
    return _class_of(errors)(text, remedy=" / ".join(remedies) or None)


def _class_of(errors: Sequence[Finding]) -> type[DataError]:
    kinds = {finding.code.split(".")[0] for finding in errors}
    single: dict[str, type[DataError]] = {"label": LabelError, "geometry": GeometryError}
    return single.get(next(iter(kinds)), DataError) if len(kinds) == 1 else DataError
