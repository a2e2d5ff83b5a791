"""Which sources are compared, and which cannot be, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.errors import ConfigError, MedTLError, WeightsError
from medtl_monai.ranking.encoders import split_method
from medtl_monai.transfer.source import is_file_source, lineage_of, source_file
from medtl_monai.weights.fetch import find_local
from medtl_monai.weights.licence import Lineage, check_commercial
from medtl_monai.weights.registry import REGISTRY, pretrained
from medtl_monai.weights.row import PretrainedWeights

RANDOM = "random"


@dataclass(frozen=True)
class Unusable:
    """A source that is not compared, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Licensing:
    """What a source may be used for.

    Attributes:
        licence: of it and of what it was made from, in words.
        commercial: whether commercial use is allowed; None if that is not known.
    """

    licence: str
    commercial: bool | None

    @property
    def word(self) -> str:
        """``yes``, ``no`` or ``unknown``."""
        return "unknown" if self.commercial is None else "yes" if self.commercial else "no"


NOBODYS = Licensing("none: initial weights", True)


def choose(
    wanted: Sequence[str], spatial_dims: int, *, commercial: bool = False
) -> tuple[tuple[str, ...], tuple[Unusable, ...]]:
    """The sources to compare, and those that cannot be used. ``random`` is left out: it goes with every architecture.

    Args:
        wanted: registry names, weights files, bundle folders; empty for all rows of the registry.
        spatial_dims: of the images.
        commercial: leave out what is not known to allow commercial use.

    Raises:
        ConfigError: a source twice, or none that can be used.
        WeightsError: a name that is in no registry.
    """
    names = [name for name in wanted if name != RANDOM] or list(REGISTRY)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("a source is named twice", got=", ".join(twice))
    for name in names:
        if not is_file_source(split_method(name)[0]):
            pretrained(split_method(name)[0])  # a slip of the pen is an error, not a source that is missing
    reasons = {name: _reason(name, spatial_dims, commercial) for name in names}
    usable = tuple(name for name, reason in reasons.items() if reason is None)
    unusable = tuple(Unusable(shown_name(name), reason) for name, reason in reasons.items() if reason is not None)
    if not usable:
        raise ConfigError(
            "no source can be used",
            expected="one source at least",
            got="; ".join(f"{entry.source}: {entry.reason}" for entry in unusable[:10]),
            remedy="`medtl weights fetch NAME` or `medtl weights import FILE`, then rank again",
        )
    return usable, unusable


def _reason(name: str, spatial_dims: int, commercial: bool) -> str | None:
    plain, _ = split_method(name)
    if is_file_source(plain):
        if not source_file(plain).is_file():
            return "no such file"
    else:
        row = pretrained(plain)
        if row.input.spatial_dims > spatial_dims:
            return f"a {row.input.spatial_dims}D network, and the images are {spatial_dims}D"
        if find_local(row) is None:
            return f"not on this machine: `medtl weights {'import FILE' if row.converted else f'fetch {row.name}'}`"
    try:
        check_commercial(lineage_of(plain), commercial)
    except WeightsError as error:
        return f"{error.problem}: {error.got}" if error.got else str(error)
    return None


def row_of(source: str) -> PretrainedWeights | None:
    """The registry row of a source; None for files and bundles."""
    name, _ = split_method(source)
    return None if is_file_source(name) else pretrained(name)


def shown_name(source: str) -> str:
    """The source without the folders of this machine, apart from the last one of a bundle or file."""
    name, method = split_method(source)
    if not is_file_source(name):
        return source
    path = Path(name)
    short = path.name if path.suffix else path.resolve().name
    return f"{short}@{method}" if method else short


def licensing(source: str) -> Licensing:
    """What a source and its ancestors allow; a record that cannot be read counts as unknown."""
    try:
        lineage = lineage_of(split_method(source)[0])
    except MedTLError as error:
        return Licensing(f"unknown ({error.problem})", None)
    if not lineage:
        return Licensing("its own; trained from initial weights", True)
    return Licensing(" + ".join(dict.fromkeys(entry.licence or "unknown" for entry in lineage)), _commercial(lineage))


def _commercial(lineage: Sequence[Lineage]) -> bool | None:
    if any(entry.commercial_use is False for entry in lineage):
        return False
    return True if all(entry.commercial for entry in lineage) else None
