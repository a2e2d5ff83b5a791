"""Labels whose values mean what their names say, whatever order MONAI Label's clients gave the segments.

3D Slicer numbers the voxels of a submitted label by the order of its segments and sends the names along
(``label_info``); MONAI Label stores them in ``datastore_v2.json`` and trains on the numbers alone. Here the names are
found again, and the numbers of this task with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtl_monai.data.checks import check_case
from medtl_monai.errors import FormatError, LabelError, MedTLError
from medtl_monai.io.nifti import case_name, read_nifti

DATASTORE = "datastore_v2.json"
UNNAMED = "label_info"


def submitted_names(label: str | PathLike[str]) -> list[tuple[str, int]] | None:
    """Names and values that a client of MONAI Label sent with a label file, in its order of the segments.

    Args:
        label: the label file; one of MONAI Label's lies at ``STUDIES/labels/TAG/NAME``, beside it
            ``STUDIES/datastore_v2.json``.

    Returns:
        ``[(name, value), ...]``, or None for a label that is in no such datastore or came without names.

    Raises:
        FormatError: the datastore's file, or its entry for this label, cannot be understood.
    """
    path = Path(label)
    store = path.absolute().parent.parent.parent / DATASTORE
    if not store.is_file():
        return None
    try:
        objects = json.loads(store.read_text(encoding="utf-8"))["objects"].values()
        rows = [row["labels"][path.parent.name]["info"] for row in objects if path.parent.name in row["labels"]]
        info: list[Mapping[str, Any]] = next((row.get(UNNAMED) or [] for row in rows if row["name"] == path.name), [])
        return [(str(segment["name"]), int(segment["idx"])) for segment in info] or None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            "the names of a label cannot be understood",
            case=case_name(path),
            path=store,
            expected="objects, their labels, and label_info with name and idx of every segment",
            got=f"{type(error).__name__}: {error}",
            remedy="submit the label again",
        ) from error


def value_map(
    named: Sequence[tuple[str, int]], present: Iterable[int], label_names: Mapping[str, str], *, case: str | None = None
) -> dict[int, int]:
    """Which value of the task each value of a submitted label stands for.

    Segments without voxels may have any name: Slicer makes one for every label of every model of a server.

    Args:
        named: see `submitted_names`.
        present: the values that the label's voxels have, 0 (background) or not.
        label_names: the task's values as text and their names, ``{"0": "background", "1": ...}``; MONAI Label writes
            names in lower case, so case does not count.
        case: name for the error.

    Returns:
        Submitted value -> value of the task, for 0 and every value present.

    Raises:
        LabelError: a value present has no name, more than one, or one that the task does not know; or the segments
            are not numbered 1, 2, 3, ... (Slicer's plugin counts segments that it does not export, such as
            ``background``: which number is whose cannot be told then).
    """
    known = {name.strip().casefold(): int(value) for value, name in label_names.items()}
    numbers = [value for _, value in named]
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        raise LabelError(
            "the segments of a label are not numbered 1, 2, 3, ...",
            case=case,
            expected=f"1 to {len(numbers)}",
            got=", ".join(f"{value} {name}" for name, value in named),
            remedy="in Slicer, delete the segments background, foreground_scribbles and background_scribbles, and "
            "submit the label again",
        )
    names = {value: name for name, value in named}
    wanted = sorted(set(present) - {0})
    bad = [f"{value} {names.get(value, '(no name)')}" for value in wanted if _key(names.get(value)) not in known]
    twice = {key for key in known if sum(_key(names.get(value)) == key for value in wanted) > 1}
    if bad or twice:
        raise LabelError(
            "a label holds segments that the task does not know" if bad else "two segments have one name",
            case=case,
            expected=", ".join(f"{name}" for name in label_names.values()),
            got=", ".join(bad or sorted(twice)),
            remedy="rename the segments, and submit the label again",
        )
    return {0: 0} | {value: known[_key(names[value])] for value in wanted}


def _key(name: str | None) -> str:
    return "" if name is None else name.strip().casefold()


def in_task_order(
    labels: NDArray[np.integer[Any]], path: str | PathLike[str], label_names: Mapping[str, str]
) -> NDArray[np.integer[Any]]:
    """The voxels of a label file with the task's values; without names (`submitted_names`) they come back as they are.

    Args:
        labels: whole numbers, any shape.
        path: the file they were read from.
        label_names: see `value_map`.

    Returns:
        An array of the same shape and type.

    Raises:
        FormatError, LabelError: see `submitted_names` and `value_map`.
    """
    named = submitted_names(path)
    if named is None:
        return labels
    values, places = np.unique(labels, return_inverse=True)
    order = value_map(named, (int(value) for value in values), label_names, case=case_name(Path(path)))
    return np.array([order[int(value)] for value in values], dtype=labels.dtype)[places].reshape(labels.shape)


def require_named_labels(cases: Iterable[Sequence[Mapping[str, str]]], label_names: Mapping[str, str]) -> None:
    """Refuse to train on labels that cannot be used, all of them named at once; stands in ``initialize``.

    MONAI Label puts its own list of cases into a configuration, so they have not been checked by
    `medtl_monai.data.cases.training_cases`, whose cases have a name (key ``case``) and are passed over here.

    Args:
        cases: lists of ``{"image": path, "label": path}``: training and validation.
        label_names: see `value_map`.

    Raises:
        LabelError: images or labels that cannot be read, do not lie on one grid, or hold values without a known name.
    """
    rows = [case for split in cases for case in split if "case" not in case]
    problems = [(case_name(Path(row["label"])), problem) for row in rows for problem in _problems(row, label_names)]
    if problems:
        text = "\n  ".join(f"case {case}: {problem}" for case, problem in problems)
        count = len({case for case, _ in problems})
        raise LabelError(f"{count} of {len(rows)} submitted labels cannot be used:\n  {text}")


def _problems(row: Mapping[str, str], label_names: Mapping[str, str]) -> list[str]:
    case = {**row, "case": case_name(Path(row["label"]))}
    try:
        named = submitted_names(row["label"])
        values = {int(value) for value in label_names}
        if named is not None:
            present = np.unique(read_nifti(row["label"], kind="label").array)
            values = set(value_map(named, (int(value) for value in present), label_names))
    except MedTLError as error:
        words = (("expected", error.expected), ("got", error.got))
        parts = [error.problem, *(f"{word} {value}" for word, value in words if value is not None), error.remedy or ""]
        return ["; ".join(part for part in parts if part)]
    return [finding.message for finding in check_case(case, values) if finding.severity == "error"]
