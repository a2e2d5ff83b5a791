"""The cases a bundle works on, as the list of dictionaries that MONAI's transforms take."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from medtl_monai.data.checks import require_valid_cases
from medtl_monai.data.datalist import SPLITS, Case, Datalist, draw_order
from medtl_monai.data.pairs import LAYOUT, by_case_name, is_debris, is_nifti_file
from medtl_monai.errors import ConfigError, DataError, FormatError
from medtl_monai.io.nifti import case_name, is_nifti_name

DATALIST_NAME = "datalist.json"
SUPPORTED = (
    "a NIfTI file, a folder of NIfTI files, a dataset folder with images/, a folder with one DICOM series, "
    "or a folder of such DICOM folders"
)
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# Volume formats that are not read: passing over them would leave patients without a result and without a word.
_UNREAD_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".hdr", ".img")
_log = logging.getLogger(__name__)


def training_cases(
    dataset_dir: str,
    split: str,
    *,
    datalist: str = "",
    labelled: int = 0,
    seed: int = 0,
    label_values: Sequence[int] = (0, 1, 2),
) -> list[dict[str, str]]:
    """Cases of one split of a datalist, every one of them read and checked.

    Args:
        dataset_dir: the dataset folder. If it does not exist, the result is empty, because MONAI's tools build a
            config where there are no data; `require_cases` guards the run itself.
        split: ``"training"``, ``"validation"`` or ``"test"``.
        datalist: the datalist file; by default ``datalist.json`` in the dataset folder.
        labelled: how many training cases to use, 0 for all. For one seed the draws are nested: the 4 cases are among
            the 16.
        seed: seed of that draw.
        label_values: the label values that the task knows, background included.

    Returns:
        ``[{"image": path, "label": path, "case": name}, ...]`` with absolute paths, in the datalist's order.

    Raises:
        ConfigError: no such split, no datalist, or `labelled` cannot be met.
        DataError: the datalist contradicts itself or cases are not usable; one error names all of them.
    """
    if split not in SPLITS:
        raise ConfigError("no such split", expected=list(SPLITS), got=repr(split))
    if labelled < 0 or (labelled and split != "training"):
        wanted = "0 (all) or more, and only with split 'training'"
        raise ConfigError("labelled cannot be used so", expected=wanted, got=f"{labelled} with {split!r}")
    if not _exists(dataset_dir):
        return []
    root = Path(os.path.abspath(dataset_dir))
    rows = _load(root, datalist).splits[split]
    chosen = _draw(rows, labelled, seed) if labelled else rows
    cases = [{"image": str(root / row.image), "label": str(root / row.label), "case": row.case} for row in chosen]
    for finding in require_valid_cases(cases, label_values):
        if finding.severity == "warning":
            _log.warning("case %s: %s; %s", finding.case, finding.message, finding.remedy)
    return cases


def _exists(path: str | PathLike[str]) -> bool:
    return bool(os.fspath(path)) and Path(path).exists()  # Path("") would be the current folder


def _load(root: Path, datalist: str) -> Datalist:
    path = Path(datalist) if datalist else root / DATALIST_NAME
    if not path.is_file():
        raise ConfigError("no datalist", path=path, remedy=f"make one with: medtl datalist {root}")
    return Datalist.load(path)


def _draw(rows: tuple[Case, ...], labelled: int, seed: int) -> list[Case]:
    if labelled > len(rows):
        raise ConfigError("not enough labelled training cases", expected=f"at most {len(rows)}", got=labelled)
    drawn = set(draw_order((row.case for row in rows), seed, "labelled")[:labelled])
    return [row for row in rows if row.case in drawn]


def require_cases(cases: Sequence[object], dataset_dir: str) -> None:
    """Refuse to run without data; stands in a config's ``run`` list before the work.

    Raises:
        DataError: there are no cases.
    """
    if not cases:
        raise DataError(
            "no cases",
            path=dataset_dir or None,
            expected=f"a folder with {LAYOUT} and {DATALIST_NAME}",
            got="an empty list of cases" if _exists(dataset_dir) else f"no such folder: {dataset_dir!r}",
            remedy=f"set --dataset_dir, and make the datalist with: medtl datalist {dataset_dir or 'DIR'}",
        )


def inference_cases(path: str) -> list[dict[str, str]]:
    """What there is to predict in a file or folder (`SUPPORTED` names the layouts), sorted by name.

    Args:
        path: the file or folder. If it does not exist, the result is empty (see `training_cases`).

    Returns:
        ``[{"image": path, "case": name}, ...]`` with absolute paths; for a DICOM series the path is its folder.

    Raises:
        FormatError: nothing readable, NIfTI and DICOM mixed, a volume format that is not read, or two files with one
            case name.
    """
    if not _exists(path):
        return []
    place = Path(os.path.abspath(path))
    if place.is_file():
        if not is_nifti_file(place):
            remedy = "for DICOM, give the folder of the series" if _is_dicom(place) else None
            raise FormatError("not a readable image file", path=place, expected=SUPPORTED, remedy=remedy)
        return _as_cases({case_name(place): place})
    return _folder_cases(place)


def _as_cases(images: dict[str, Path]) -> list[dict[str, str]]:
    return [{"image": str(image), "case": name} for name, image in sorted(images.items())]


def _folder_cases(folder: Path) -> list[dict[str, str]]:
    niftis, dicoms, folders = _sorted_entries(folder)
    series = [entry for entry in folders if _sorted_entries(entry)[1]]
    if niftis and (dicoms or series):
        raise _mixed(folder, "NIfTI and DICOM", niftis[0], (dicoms or series)[0])
    if dicoms and series:
        raise _mixed(folder, "DICOM files and DICOM folders", dicoms[0], series[0])
    if niftis:
        return _as_cases(by_case_name(niftis))
    if dicoms:
        return _as_cases({folder.name: folder})
    images = folder / "images"
    if images in folders and images not in series:
        return _folder_cases(images)
    return _series_cases(folder, folders, series)


def _series_cases(folder: Path, folders: list[Path], series: list[Path]) -> list[dict[str, str]]:
    strangers = [entry.name for entry in folders if entry not in series]
    if not series or strangers:
        got = f"folders without DICOM files directly in them: {', '.join(strangers)}" if strangers else "no such files"
        raise FormatError(
            "nothing readable" if not series else "not only DICOM folders", path=folder, expected=SUPPORTED, got=got
        )
    for entry in series:
        niftis, dicoms, _ = _sorted_entries(entry)
        if niftis:
            raise _mixed(entry, "NIfTI and DICOM", niftis[0], dicoms[0])
    return _as_cases({entry.name: entry for entry in series})


def _mixed(folder: Path, kinds: str, one: Path, other: Path) -> FormatError:
    got, remedy = f"{one.name} and {other.name}", "put them in folders of their own"
    return FormatError(f"{kinds} are mixed", path=folder, expected="one of them", got=got, remedy=remedy)


def _sorted_entries(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """NIfTI files, DICOM files and subfolders of a folder, each sorted; other files are passed over."""
    entries = sorted(entry for entry in folder.iterdir() if not is_debris(entry.name))
    files = [entry for entry in entries if not entry.is_dir()]  # a broken link too: its reader will name it
    _refuse_unread(folder, files)
    niftis = [entry for entry in files if is_nifti_name(entry)]
    dicoms = [entry for entry in files if not is_nifti_name(entry) and _is_dicom(entry)]
    return niftis, dicoms, [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _refuse_unread(folder: Path, files: Iterable[Path]) -> None:
    unread = [entry.name for entry in files if entry.name.lower().endswith(_UNREAD_SUFFIXES)]
    if unread:
        raise FormatError(
            f"{len(unread)} files of a format that is not read: {', '.join(unread)}",
            path=folder,
            expected=SUPPORTED,
            remedy="convert them to NIfTI, or move them away",
        )


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":  # an index of other files, not an image
        return False
    if file.name.lower().endswith(_DICOM_SUFFIXES):
        return True
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"  # DICOM PS3.10: 128 bytes of preamble, then the prefix
