"""Every error the library raises on purpose: what is wrong, where, what was expected, what came, and what to do."""

from __future__ import annotations

from os import PathLike


class MedTLError(Exception):
    """Base of all errors of this library.

    The text reads ``case NAME: PROBLEM; expected E, got G; REMEDY [file PATH]``; parts that were not given are left
    out. The parts stay readable as attributes.

    Args:
        problem: what is wrong, in a few words.
        case: the case (patient, scan) it concerns.
        path: the file or folder it concerns.
        expected: what the library needs.
        got: what it found.
        remedy: what the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        case: str | None = None,
        path: str | PathLike[str] | None = None,
        expected: object = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.case = case
        self.path = None if path is None else str(path)
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(self._compose())

    def _compose(self) -> str:
        head = f"case {self.case}: {self.problem}" if self.case else self.problem
        values = [
            f"{word} {value}" for word, value in (("expected", self.expected), ("got", self.got)) if value is not None
        ]
        parts = [head, ", ".join(values), self.remedy or ""]
        text = "; ".join(part for part in parts if part)
        return f"{text} [file {self.path}]" if self.path else text


class DataError(MedTLError):
    """A scan, a label or a data set is not what it has to be."""


class GeometryError(DataError):
    """Spacing, orientation, affine or shape cannot be trusted or do not agree."""


class IntensityError(DataError):
    """Voxel values are missing, not finite or implausible for the modality."""


class LabelError(DataError):
    """A label is missing, mispaired or holds values that the task does not know."""


class FormatError(DataError):
    """A file is damaged, truncated or of a kind that is not read."""


class WeightsError(MedTLError):
    """Pretrained weights are absent, damaged, unsafe, of another network, or do not fill the network."""


class ConfigError(MedTLError):
    """A setting or a combination of settings makes no sense."""


class OutputError(MedTLError):
    """A result could not be written whole."""
