"""Checks of a classification data set: every image is read, and all that is wrong is reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.classification_images import read_image
from medtl_monai.data.classification_rules import SPLITS
from medtl_monai.data.fingerprint import voxel_fingerprint
from medtl_monai.errors import DataError, FormatError, GeometryError, IntensityError
from medtl_monai.findings import Finding
from medtl_monai.io.picture import Colour

MOST_LISTED = 20
# Correlation of two thumbnails: head CT slices of different people stay below it.
NEAR_DUPLICATE = 0.95
THUMBNAIL = {2: 64, 3: 16}  # edge, by the number of axes
_KINDS = {FormatError: "format", GeometryError: "geometry", IntensityError: "intensity"}


def check_class_case(case: Mapping[str, Any], colour: Colour = "refuse") -> list[Finding]:
    """Read the image of ``{"image": path, "case": name}``; its findings, an error if it cannot be used."""
    return _read(case, colour)[1]


def require_valid_class_cases(cases: Iterable[Mapping[str, Any]], colour: Colour = "refuse") -> list[Finding]:
    """Read the image of every case, and refuse if any cannot be used.

    Returns:
        The remaining findings (info and warnings).

    Raises:
        DataError: one for all bad cases; it lists the first `MOST_LISTED`.
    """
    rows = list(cases)
    findings = [finding for case in rows for finding in check_class_case(case, colour)]
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        lines = [f"case {finding.case}: {finding.message}" for finding in errors[:MOST_LISTED]]
        if len(errors) > MOST_LISTED:
            lines.append(f"and {len(errors) - MOST_LISTED} more cases")
        remedies = list(dict.fromkeys(finding.remedy for finding in errors if finding.remedy))
        text = "\n  ".join([f"{len(errors)} of {len(rows)} cases cannot be used:", *lines])
        raise DataError(text, remedy=" / ".join(remedies) or None)
    return findings


def check_class_leakage(
    datalist: ClassificationDatalist,
    dataset_dir: str | PathLike[str],
    *,
    colour: Colour = "refuse",
    near: float | None = NEAR_DUPLICATE,
) -> list[Finding]:
    """Look for the same or nearly the same image in two splits, whatever names, file types and headers say.

    Args:
        datalist: the cases.
        dataset_dir: the dataset folder.
        colour: see `medtl_monai.io.picture.read_picture`.
        near: images whose thumbnails (64x64 or 16x16x16) correlate at least so are nearly the same; None: do not look.

    Returns:
        An error ``leakage.same_voxels`` for each set of equal images that spans splits, a warning
        ``leakage.near_duplicate`` for each pair of similar ones that does, and an error for each unreadable image. A
        flipped or rotated copy is not found.
    """
    findings: list[Finding] = []
    images: list[tuple[str, str, str, NDArray[np.float64]]] = []
    for split in SPLITS:
        for case in datalist.splits[split]:
            array, problems = _read({"case": case.case, "image": str(Path(dataset_dir) / case.image)}, colour)
            findings += [finding for finding in problems if finding.severity == "error"]
            if array is not None:
                images.append((split, case.case, voxel_fingerprint(np.squeeze(array)), _thumbnail(array)))
    same: dict[str, list[tuple[str, str]]] = {}
    for split, name, print_, _ in images:
        same.setdefault(print_, []).append((split, name))
    findings += [_leak(places) for places in same.values() if len({split for split, _ in places}) > 1]
    return findings if near is None else findings + _near(images, near)


def _leak(places: Sequence[tuple[str, str]]) -> Finding:
    where = ", ".join(f"{case} ({split})" for split, case in places)
    remedy = "keep one of them, or put them in one split as one patient"
    message = f"the same voxels in more than one split: {where}"
    return Finding("leakage.same_voxels", "error", message, remedy, places[0][1])


def _near(images: Sequence[tuple[str, str, str, NDArray[np.float64]]], near: float) -> list[Finding]:
    findings = []
    for edge in {len(row[3]) for row in images}:
        rows = [row for row in images if len(row[3]) == edge]
        thumbnails = np.stack([row[3] for row in rows])
        similar = np.argwhere(np.triu(thumbnails @ thumbnails.T, k=1) >= near)
        for i, j in similar.tolist():
            (split, case, print_, one), (other_split, other, other_print, two) = rows[i], rows[j]
            if split != other_split and print_ != other_print:
                message = f"nearly the same image as {other} ({split} and {other_split}, correlation {one @ two:.3f})"
                remedy = "look at both; images of one person belong in one split"
                findings.append(Finding("leakage.near_duplicate", "warning", message, remedy, case))
    return findings


def _thumbnail(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """A small copy as a vector of mean 0 and length 1, so that a product of two is their correlation."""
    image = np.squeeze(array).astype(np.float64)
    edge = THUMBNAIL.get(image.ndim, THUMBNAIL[2])
    factors = [edge / length for length in image.shape]
    smooth = ndimage.gaussian_filter(image, [max(0.0, (1 / factor - 1) / 2) for factor in factors])
    places = np.meshgrid(*[(np.arange(edge) + 0.5) / factor - 0.5 for factor in factors], indexing="ij")
    vector = ndimage.map_coordinates(smooth, places, order=1, mode="nearest").ravel()
    vector -= vector.mean()
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _read(case: Mapping[str, Any], colour: Colour) -> tuple[NDArray[np.generic] | None, list[Finding]]:
    name, path = str(case["case"]), Path(case["image"])
    if not path.exists():
        return None, [Finding("image.missing", "error", f"no file {path.name}", "add the file", name)]
    try:
        array, findings = read_image(path, case_id=name, colour=colour)
    except DataError as error:
        values = [f"{word} {value}" for word, value in (("expected", error.expected), ("got", error.got)) if value]
        message = f"{path.name}: {'; '.join([error.problem, *values])}"
        code = f"{_KINDS.get(type(error), 'data')}.unreadable"
        return None, [Finding(code, "error", message, error.remedy or "", name)]
    return array, list(findings)
