"""Where a model's weights come from, and whether its ancestors' licences let it be used commercially."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from medtl_monai.errors import WeightsError
from medtl_monai.io.atomic import write_json
from medtl_monai.weights.row import PretrainedWeights

KEY = "weights_lineage"


@dataclass(frozen=True)
class Lineage:
    """One ancestor of a model: weights that went into it.

    Attributes:
        source: registry name, or file name.
        licence: SPDX identifier, or None if unknown.
        commercial_use: whether the licence allows commercial use; None if unknown.
        citation, url, training_data: as in the registry; empty if unknown.
        sha256: hash of the file that was used, or None if unknown.
    """

    source: str
    licence: str | None
    commercial_use: bool | None
    citation: str = ""
    url: str = ""
    sha256: str | None = None
    training_data: str = ""

    @property
    def commercial(self) -> bool:
        """Whether commercial use is known to be allowed."""
        return self.commercial_use is True and bool(self.licence)

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def lineage_of_row(row: PretrainedWeights, sha256: str | None = None) -> Lineage:
    """The lineage of published weights; ``sha256`` is the full hash of the file in use (default: the registry's)."""
    return Lineage(
        source=row.name,
        licence=row.licence,
        commercial_use=row.commercial_use,
        citation=row.citation,
        url=row.url,
        sha256=sha256 or row.sha256,
        training_data=row.training_data,
    )


def lineage_of_file(path: str | Path) -> tuple[Lineage, ...]:
    """The ancestors of a weights file, oldest first.

    They are read from ``weights_lineage`` in ``configs/metadata.json`` of the bundle whose ``models`` folder holds the
    file, and from ``<file>.lineage.json`` beside it; an ancestor named by both is counted once. Where neither says
    anything, the answer is one ancestor of unknown licence: the file itself. An empty record means a model trained from
    random weights, and the answer is empty too.

    Raises:
        WeightsError: a record is there and cannot be read.
    """
    path = Path(path).absolute()
    places = [_sidecar(path)]
    if path.parent.name == "models":
        places.insert(0, path.parent.parent / "configs" / "metadata.json")
    records = [record for place in places if place.is_file() and (record := _read(place)) is not None]
    if not records:
        return (Lineage(source=path.name, licence=None, commercial_use=None),)
    return tuple(dict.fromkeys(entry for record in records for entry in record))


def write_lineage(path: str | Path, lineages: Iterable[Lineage]) -> Path:
    """Write ``<file>.lineage.json`` beside a weights file, whole or not at all, and return its path.

    It says which weights the file descends from, oldest first. Raises OutputError if it cannot be written.
    """
    target = _sidecar(Path(path))
    write_json(target, {KEY: [entry.as_dict() for entry in lineages]})
    return target


def record_lineage(path: str | Path, lineages: Iterable[Lineage]) -> None:
    """Record the ancestors of a weights file that was just written: beside it, and in its bundle's metadata.

    A file in the ``models`` folder of a bundle is the bundle's model, so ``weights_lineage`` in its
    ``configs/metadata.json`` is brought up to date; that file is left alone when it says the same already.

    Raises:
        WeightsError: the metadata cannot be read.
        OutputError: a file cannot be written.
    """
    target, entries = Path(path).absolute(), tuple(lineages)
    write_lineage(target, entries)
    metadata = target.parent.parent / "configs" / "metadata.json"
    if target.parent.name != "models" or not metadata.is_file() or _read(metadata) == list(entries):
        return
    content = json.loads(metadata.read_text(encoding="utf-8"))
    write_json(metadata, {**content, KEY: [entry.as_dict() for entry in entries]})


def check_commercial(lineages: Sequence[Lineage], commercial: bool) -> None:
    """Raise WeightsError, naming every offender, if ``commercial`` use is planned and an ancestor does not allow it.

    An ancestor of unknown licence does not: what is not granted is reserved.
    """
    offenders = [entry for entry in lineages if not entry.commercial]
    if not commercial or not offenders:
        return
    raise WeightsError(
        "these weights are not cleared for commercial use",
        expected="sources whose licences are known and allow it",
        got="; ".join(f"{entry.source} ({_reason(entry)})" for entry in offenders),
        remedy="start from another source (`medtl weights list --commercial`) or from `--source scratch`",
    )


def _reason(entry: Lineage) -> str:
    if entry.licence and entry.commercial_use is False:
        return f"{entry.licence}, non-commercial only"
    return "licence unknown" if not entry.licence else f"{entry.licence}, not known to allow it"


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.lineage.json")


def _read(place: Path) -> list[Lineage] | None:
    """The ancestors that a JSON file names, or None if it has nothing to say about them."""
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(place, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, Mapping):
        raise _unreadable(place, type(content).__name__)
    if KEY not in content:
        return None
    if not isinstance(content[KEY], list):
        raise _unreadable(place, f"{KEY} is {type(content[KEY]).__name__}")
    return [_entry(place, entry) for entry in content[KEY]]


def _entry(place: Path, entry: object) -> Lineage:
    names = [field.name for field in fields(Lineage)]
    if not isinstance(entry, Mapping) or set(entry) != set(names):
        raise _unreadable(place, f"an entry {sorted(entry) if isinstance(entry, Mapping) else entry!r}")
    for name in names:
        optional = {"licence", "commercial_use", "sha256"}
        kind = bool if name == "commercial_use" else str
        if not isinstance(entry[name], kind) and not (name in optional and entry[name] is None):
            raise _unreadable(place, f"{name} = {entry[name]!r}")
    return Lineage(**entry)


def _unreadable(place: Path, got: str) -> WeightsError:
    return WeightsError(
        "the record of where weights come from cannot be read",
        path=place,
        expected=f"a JSON object whose {KEY} is a list of objects with "
        + ", ".join(field.name for field in fields(Lineage)),
        got=got,
        remedy="restore it from the run that wrote it; without it the licence is unknown",
    )
