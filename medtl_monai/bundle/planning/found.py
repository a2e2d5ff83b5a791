"""What an attempt at a layout has found."""

from __future__ import annotations

from dataclasses import dataclass

from medtl_monai.findings import Finding


@dataclass(frozen=True)
class FoundCase:
    """One case of a dataset folder.

    Attributes:
        case: its name.
        image: path relative to the dataset folder, with forward slashes; of a DICOM series its folder.
        label: path of the label map (segmentation) or number of the class (classification).
        patient: whom it is of.
        split: split that a datalist puts it in; empty if there is none yet.
    """

    case: str
    image: str
    label: str | int
    patient: str
    split: str = ""


@dataclass(frozen=True)
class Found:
    """The cases of a layout that fits.

    Attributes:
        layout: the layout, in words.
        cases: what was found.
        names: name of every label value or class.
        findings: what is wrong or worth knowing.
        folders: names of the folders of images and labels (segmentation).
        knows_patients: whether the layout itself says which patient a case is of.
    """

    layout: str
    cases: tuple[FoundCase, ...]
    names: dict[int, str]
    findings: tuple[Finding, ...] = ()
    folders: tuple[str, str] = ("images", "labels")
    knows_patients: bool = False


def reason_of(problem: str, expected: object, got: object) -> str:
    """Why a layout does not fit, as one line without the folders of this machine."""
    parts = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
    return "; ".join([problem, *parts])
