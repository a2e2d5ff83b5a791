"""The cases a classification bundle works on, as the list of dictionaries that MONAI's transforms take."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.classification_checks import require_valid_class_cases
from medtl_monai.data.classification_images import SUPPORTED, image_name, is_image
from medtl_monai.data.classification_rules import SPLITS, ClassCase
from medtl_monai.data.datalist import draw_order
from medtl_monai.data.pairs import is_debris
from medtl_monai.errors import ConfigError, DataError, FormatError
from medtl_monai.io.picture import Colour

DATALIST_NAME = "datalist.json"
_log = logging.getLogger(__name__)


def classification_cases(
    dataset_dir: str,
    split: str,
    *,
    datalist: str = "",
    labelled: int = 0,
    seed: int = 0,
    classes: int = 2,
    colour: Colour = "refuse",
) -> list[dict[str, Any]]:
    """Cases of one split of a classification datalist, the image of every one of them read and checked.

    Args:
        dataset_dir: the dataset folder. If it does not exist, the result is empty, because MONAI's tools build a
            config where there are no data; `require_class_cases` guards the run itself.
        split: ``"training"``, ``"validation"`` or ``"test"``.
        datalist: the datalist file; by default ``datalist.json`` in the dataset folder.
        labelled: how many training cases to use, 0 for all: classes as nearly in proportion as possible, each with one
            case at least. For one seed the draws are nested: the 4 cases are among the 16.
        seed: seed of that draw.
        classes: how many classes the task has.
        colour: what to do with coloured pictures, see `medtl_monai.io.picture.read_picture`.

    Returns:
        ``[{"image": absolute path, "label": class, "case": name, "patient": name}, ...]`` in the datalist's order.

    Raises:
        ConfigError: no such split, no datalist, other classes, or `labelled` cannot be met.
        DataError: the datalist contradicts itself, images are not usable (one error names all of them), or the
            training or validation split has cases, but none of some class.
    """
    if split not in SPLITS:
        raise ConfigError("no such split", expected=list(SPLITS), got=repr(split))
    if labelled < 0 or (labelled and split != "training"):
        wanted = "0 (all) or more, and only with split 'training'"
        raise ConfigError("labelled cannot be used so", expected=wanted, got=f"{labelled} with {split!r}")
    if not _exists(dataset_dir):
        return []
    root = Path(os.path.abspath(dataset_dir))
    listed = _load(root, datalist)
    if len(listed.classes) != classes:
        got = f"{len(listed.classes)} in the datalist: {', '.join(listed.classes.values())}"
        raise ConfigError("the datalist is of another task", expected=f"{classes} classes", got=got)
    rows = listed.splits[split]
    if split != "test":
        _require_every_class(rows, listed.classes, split)
    chosen = draw_cases(rows, labelled, seed) if labelled else rows
    cases = [
        {"image": str(root / row.image), "label": row.label, "case": row.case, "patient": row.patient} for row in chosen
    ]
    for finding in require_valid_class_cases(cases, colour):
        if finding.severity == "warning":
            _log.warning("case %s: %s; %s", finding.case, finding.message, finding.remedy)
    return cases


def _exists(path: str) -> bool:
    return bool(path) and Path(path).exists()  # Path("") would be the current folder


def _load(root: Path, datalist: str) -> ClassificationDatalist:
    path = Path(datalist) if datalist else root / DATALIST_NAME
    if not path.is_file():
        remedy = f"make one with: medtl datalist {root} --classification"
        raise ConfigError("no datalist", path=path, remedy=remedy)
    return ClassificationDatalist.load(path)


def _require_every_class(rows: Sequence[ClassCase], classes: Mapping[int, str], split: str) -> None:
    missing = sorted(set(classes) - {row.label for row in rows})
    if rows and missing:
        raise DataError(
            f"the {split} split has no case of {', '.join(f'class {value} ({classes[value]})' for value in missing)}",
            expected="cases of every class",
            got=f"{len(rows)} cases of others",
            remedy="split the patients anew",
        )


def draw_cases(rows: Sequence[ClassCase], labelled: int, seed: int) -> list[ClassCase]:
    """So many cases at random, in their order; classes in proportion; for one seed, fewer are among more.

    Raises:
        ConfigError: more than there are, or fewer than there are classes.
    """
    total = Counter(row.label for row in rows)
    if not len(total) <= labelled <= len(rows):
        expected = f"from {len(total)}, one per class, to {len(rows)}"
        raise ConfigError("labelled cannot be met", expected=expected, got=labelled)
    waiting = {
        label: draw_order((row.case for row in rows if row.label == label), seed, "labelled") for label in sorted(total)
    }
    drawn: set[str] = set()
    taken = dict.fromkeys(waiting, 0)
    for number in range(1, labelled + 1):
        label = _most_wanting(taken, total, number)
        drawn.add(waiting[label][taken[label]])
        taken[label] += 1
    return [row for row in rows if row.case in drawn]


def _most_wanting(taken: Mapping[int, int], total: Mapping[int, int], number: int) -> int:
    """The class whose share is furthest behind; those that have nothing yet come first."""
    everything = sum(total.values())
    open_ = [label for label in taken if taken[label] < total[label]]
    return max(open_, key=lambda label: (taken[label] == 0, number * total[label] / everything - taken[label]))


def require_class_cases(cases: Sequence[object], dataset_dir: str) -> None:
    """Refuse to run without data; stands in a config's ``run`` list before the work.

    Raises:
        DataError: there are no cases.
    """
    if not cases:
        raise DataError(
            "no cases",
            path=dataset_dir or None,
            expected=f"a dataset folder with {DATALIST_NAME}, or images to predict",
            got="an empty list of cases" if _exists(dataset_dir) else f"no such folder: {dataset_dir!r}",
            remedy="set --dataset_dir, and --datalist where the datalist lies elsewhere",
        )


def recorded_cases(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Names and images of cases for a run record, whose ``label`` is a file and not a class."""
    rows = [{"image": str(case["image"])} for case in cases]
    return [
        {"case": str(case["case"]), **row} if "case" in case else row for case, row in zip(cases, rows, strict=True)
    ]


def class_counts(cases: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many cases there are of each class, by its number."""
    return {str(label): count for label, count in sorted(Counter(int(case["label"]) for case in cases).items())}


def class_inference_cases(path: str) -> list[dict[str, str]]:
    """The images of a file, a folder, or its folder ``images``, one case each, sorted by name.

    Args:
        path: the file or folder. If it does not exist, the result is empty (see `classification_cases`).

    Returns:
        ``[{"image": absolute path, "case": name}, ...]``.

    Raises:
        FormatError: nothing readable, files that are no images, or two with one case name.
    """
    if not _exists(path):
        return []
    place = Path(os.path.abspath(path))
    if place.is_dir() and (place / "images").is_dir():
        place = place / "images"
    files = [place] if place.is_file() else sorted(entry for entry in place.iterdir() if not is_debris(entry.name))
    strangers = [file.name for file in files if not is_image(file)]
    names = Counter(image_name(file) for file in files)
    clashes = [name for name, count in names.items() if count > 1]
    if strangers or clashes or not files:
        got = f"other entries: {', '.join(strangers)}" if strangers else f"several files named {', '.join(clashes)}"
        expected = f"only images ({SUPPORTED}), each with a name of its own"
        raise FormatError("not images alone", path=place, expected=expected, got=got if files else "nothing")
    return [{"image": str(file), "case": image_name(file)} for file in files]
