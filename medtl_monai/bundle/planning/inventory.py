"""What lies in a user's folder: the cases, what labels them, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal

from medtl_monai.bundle.planning.class_layouts import class_folders, class_table
from medtl_monai.bundle.planning.found import Found, FoundCase
from medtl_monai.bundle.planning.mask_layouts import LAYOUTS, paired_folders
from medtl_monai.data.any_datalist import load_datalist
from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.classification_rules import ClassCase
from medtl_monai.data.classification_split import stratified_split
from medtl_monai.data.datalist import SPLITS, Datalist, make_datalist, patients_of
from medtl_monai.errors import ConfigError, DataError
from medtl_monai.findings import Finding
from medtl_monai.lookup import look_up

Task = Literal["segmentation", "classification"]
AnyDatalist = Datalist | ClassificationDatalist
DATALIST_NAME = "datalist.json"
_MADE = {Datalist: "segmentation", ClassificationDatalist: "classification"}


@dataclass(frozen=True)
class Inventory:
    """The cases of a dataset folder.

    Attributes:
        folder: the dataset folder.
        task: what the labels are for.
        layout: how the data lie in it, in words.
        cases: sorted by name.
        names: name of every label value or class.
        findings: what is wrong or worth knowing; errors forbid a plan (see `problems.require_plannable`).
        given: the datalist that came with the data, if any; its splits are kept.
        folders: names of the folders of images and labels (segmentation).
        patient_pattern: regular expression for the patient in a case's name, if given.
    """

    folder: Path
    task: Task
    layout: str
    cases: tuple[FoundCase, ...]
    names: dict[int, str]
    findings: tuple[Finding, ...] = ()
    given: AnyDatalist | None = None
    folders: tuple[str, str] = ("images", "labels")
    patient_pattern: str | None = None

    def datalist(self, *, validation: float, test: float, seed: int = 0) -> AnyDatalist:
        """The datalist that came with the data, else one whose patients are split at random.

        Args:
            validation, test: fractions of the patients (segmentation) or of the cases (classification).
            seed: seed of the split.

        Raises:
            DataError, ConfigError: as `make_datalist` and `stratified_split`.
        """
        if self.given is not None:
            return self.given
        if self.task == "segmentation":
            return make_datalist(
                self.folder,
                validation=validation,
                test=test,
                seed=seed,
                patient_pattern=self.patient_pattern,
                label_names=self.names,
                folders=self.folders,
            )
        rows = [ClassCase(case.case, case.image, int(case.label), case.patient) for case in self.cases]
        splits = stratified_split(rows, fractions={"validation": validation, "test": test}, seed=seed)
        return ClassificationDatalist(dict(self.names), splits)


def take_inventory(
    data: str | PathLike[str],
    task: str,
    *,
    csv: str | PathLike[str] = "",
    names: Mapping[int, str] | None = None,
    patient_pattern: str | None = None,
) -> Inventory:
    """Find the cases in a folder, in whichever of the known layouts it is.

    A datalist (the file named, or ``datalist.json`` in the folder) comes before everything else. Segmentation: pairs of
    equal names in ``images`` and ``labels`` or in ``imagesTr`` and ``labelsTr``, an image being a NIfTI file or a
    folder with a DICOM series. Classification: a table (CSV) with paths and classes, or a folder per class; images are
    NIfTI, PNG, JPEG, DICOM files or folders with a DICOM series.

    Args:
        data: the dataset folder, or a datalist in it.
        task: ``"segmentation"`` or ``"classification"``.
        csv: the table, where there are several or it lies elsewhere.
        names: name of every label value or class number.
        patient_pattern: regular expression searched for in the case name; its first group is the patient.

    Raises:
        ConfigError: no such folder or task, a pattern or table that makes no sense, a datalist of the other task.
        DataError: no layout fits; the message says what was tried and why it did not fit.
    """
    chosen: Task = look_up({"segmentation": "segmentation", "classification": "classification"}, task, "task")  # type: ignore[assignment]
    place = Path(data)
    if not place.exists():
        raise ConfigError("no such dataset", path=place, expected="a folder or a datalist", remedy="check --data")
    listed = place if place.is_file() else place / DATALIST_NAME
    if listed.is_file():
        return _from_datalist(listed, chosen)
    tried: list[tuple[str, str]] = [(DATALIST_NAME, "not there")]
    for layout, attempt in _attempts(place, chosen, csv, names):
        found = attempt()
        if isinstance(found, str):
            tried.append((layout, found))
            continue
        return _inventory(place, chosen, found, patient_pattern)
    lines = [f"{layout}: {reason}" for layout, reason in tried]
    raise DataError(
        "\n  ".join([f"nothing in this folder looks like data for {chosen}; tried", *lines]),
        path=place,
        remedy="lay the data out in one of these ways, or write a datalist (`medtl datalist --help`)",
    )


def _attempts(
    place: Path, task: Task, csv: str | PathLike[str], names: Mapping[int, str] | None
) -> list[tuple[str, Callable[[], Found | str]]]:
    if task == "segmentation":
        return [
            (f"{pair[0]}/ with {pair[1]}/", lambda pair=pair: paired_folders(place, pair, names))  # type: ignore[misc]
            for pair in LAYOUTS
        ]
    return [
        ("a table (CSV) with images and classes", lambda: class_table(place, csv, names)),
        ("a folder per class", lambda: class_folders(place, names)),
    ]


def _inventory(place: Path, task: Task, found: Found, pattern: str | None) -> Inventory:
    cases, findings = found.cases, list(found.findings)
    if pattern is not None:
        if found.knows_patients:
            raise ConfigError("patients are given twice", expected="a column of patients or a pattern, not both")
        patients = patients_of([case.case for case in cases], pattern)
        cases = tuple(replace(case, patient=patients[case.case]) for case in cases)
    elif not found.knows_patients and len(cases) > 1:
        message = "nothing says which cases are of one patient: every case counts as a patient of its own"
        remedy = "if patients have several cases, give --patient-pattern or a column 'patient'"
        findings.append(Finding("patient.unknown", "warning", message, remedy))
    ordered = tuple(sorted(cases, key=lambda case: case.case))
    return Inventory(
        place, task, found.layout, ordered, found.names, tuple(findings), None, found.folders, patient_pattern=pattern
    )


def _from_datalist(path: Path, task: Task) -> Inventory:
    made = load_datalist(path)
    if _MADE[type(made)] != task:
        raise ConfigError("the datalist is of another task", path=path, expected=task, got=_MADE[type(made)])
    cases = tuple(
        FoundCase(row.case, row.image, row.label, row.patient, split) for split in SPLITS for row in made.splits[split]
    )
    names = made.labels if isinstance(made, Datalist) else made.classes
    return Inventory(path.parent, task, f"a datalist ({path.name})", cases, dict(names), (), made)
