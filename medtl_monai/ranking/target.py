"""The user's data: which cases, which classes, which patients, and whether there are enough of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medtl_monai.data.cases import DATALIST_NAME, require_cases, training_cases
from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.classification_cases import classification_cases
from medtl_monai.data.datalist import Datalist
from medtl_monai.errors import ConfigError, DataError
from medtl_monai.io.picture import Colour
from medtl_monai.lookup import look_up
from medtl_monai.ranking.images import read_image

Task = Literal["segmentation", "classification"]
PATIENTS_PER_CLASS = 4
PATIENTS = 5  # fewer give no interval


@dataclass(frozen=True)
class TargetCase:
    """One labelled training case.

    Attributes:
        case, patient: their names.
        image: path of the image.
        label: path of the label map, or the class.
        colour: what to do with a picture in colour: ``refuse`` or ``luminance``.
    """

    case: str
    patient: str
    image: str
    label: str | int
    colour: Colour = "refuse"


@dataclass(frozen=True)
class Target:
    """The data that sources are ranked for.

    Attributes:
        task: what is to be done.
        cases: the labelled training cases.
        classes: name of each class (label value).
        spatial_dims: 2 or 3.
        channels: of every image.
    """

    task: Task
    cases: tuple[TargetCase, ...]
    classes: Mapping[int, str]
    spatial_dims: int
    channels: int

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return len({case.patient for case in self.cases})


def read_target(
    folder: Path,
    task: str,
    *,
    datalist: Path | None,
    labelled: int,
    seed: int,
    spatial_dims: int | None,
    colour: Colour = "refuse",
) -> Target:
    """The training split of a dataset folder.

    Args:
        folder: the dataset folder.
        task: ``"segmentation"`` or ``"classification"``.
        datalist: the datalist file; None for ``datalist.json`` in the folder.
        labelled: how many of the training cases, 0 for all; drawn by ``seed`` as trainings draw them.
        seed: of that draw.
        spatial_dims: 2 or 3; None to see it from the first image.
        colour: what to do with pictures in colour: ``refuse`` or ``luminance``.

    Raises:
        ConfigError: an unknown task, a datalist that is absent or of another task, or images of other dimensions.
        DataError: no cases, or cases that are not usable.
    """
    cases, classes = look_up(_READERS, task, "task")(folder, datalist or folder / DATALIST_NAME, labelled, seed, colour)
    require_cases(cases, str(folder))
    image = read_image(cases[0].image, cases[0].case, colour)
    axes = [length for length in image.shape[1:] if length > 1]
    found = 3 if len(axes) == 3 else 2
    if spatial_dims is not None and spatial_dims != found:
        raise ConfigError(
            f"the images are not {spatial_dims}D",
            expected=f"--spatial-dims {found}",
            got=f"case {cases[0].case} of shape {tuple(image.shape[1:])}",
        )
    # look_up has refused every other word
    return Target(task, tuple(cases), classes, found, int(image.shape[0]))  # type: ignore[arg-type]


def _segmentation(
    folder: Path, datalist: Path, labelled: int, seed: int, colour: Colour
) -> tuple[list[TargetCase], dict[int, str]]:
    _require_file(folder, datalist, "medtl datalist")
    known = Datalist.load(datalist)
    patients = {row.case: row.patient for row in known.splits["training"]}
    rows = training_cases(
        str(folder),
        "training",
        datalist=str(datalist),
        labelled=labelled,
        seed=seed,
        label_values=tuple(sorted(known.labels)),
    )
    cases = [TargetCase(row["case"], patients[row["case"]], row["image"], row["label"], colour) for row in rows]
    return cases, dict(sorted(known.labels.items()))


def _classification(
    folder: Path, datalist: Path, labelled: int, seed: int, colour: Colour
) -> tuple[list[TargetCase], dict[int, str]]:
    _require_file(folder, datalist, "medtl datalist --classification")
    classes = ClassificationDatalist.load(datalist).classes
    rows = classification_cases(
        str(folder),
        "training",
        datalist=str(datalist),
        labelled=labelled,
        seed=seed,
        classes=len(classes),
        colour=colour,
    )
    cases = [TargetCase(row["case"], row["patient"], row["image"], int(row["label"]), colour) for row in rows]
    return cases, dict(sorted(classes.items()))


_READERS = {"segmentation": _segmentation, "classification": _classification}


def _require_file(folder: Path, datalist: Path, maker: str) -> None:
    if not folder.is_dir():
        raise ConfigError("no such dataset folder", path=folder, remedy="check --data")
    if not datalist.is_file():
        raise ConfigError("no datalist", path=datalist, remedy=f"make one with {maker}, or name it with --datalist")


def require_enough(patients_of_class: Mapping[int, set[str]], classes: Mapping[int, str]) -> None:
    """Refuse a ranking of too few patients.

    Args:
        patients_of_class: for each class, the patients that have it.
        classes: name of each class.

    Raises:
        DataError: fewer than two classes, a class in fewer than 4 patients, or fewer than 5 patients in all; says how
            many are missing.
    """
    present = {value: names for value, names in patients_of_class.items() if names}
    if len(present) < 2:
        raise DataError(
            "nothing to tell apart",
            expected="cases of two classes or more",
            got=f"only {_listed(classes, present)}" if present else "no class at all",
            remedy="label cases of another class",
        )
    few = [value for value in sorted(present) if len(present[value]) < PATIENTS_PER_CLASS]
    everyone = set().union(*present.values())
    if not few and len(everyone) >= PATIENTS:
        return
    needs = [f"{PATIENTS_PER_CLASS - len(present[value])} more with {_name(classes, value)}" for value in few]
    if len(everyone) < PATIENTS:
        needs.append(f"{PATIENTS - len(everyone)} more in all")
    raise DataError(
        "too few labelled patients to rank sources",
        expected=f"{PATIENTS_PER_CLASS} patients of every class, {PATIENTS} in all",
        got=f"{_listed(classes, present)}; {len(everyone)} in all",
        remedy="label " + ", ".join(needs) + "; without them, choose by modality and licence: `medtl weights list`",
    )


def _name(classes: Mapping[int, str], value: int) -> str:
    return classes.get(value, f"class {value}")


def _listed(classes: Mapping[int, str], patients: Mapping[int, Sequence[str] | set[str]]) -> str:
    return ", ".join(f"{_name(classes, value)}: {len(patients[value])} patients" for value in sorted(patients))
