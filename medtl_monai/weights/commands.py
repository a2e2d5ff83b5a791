"""What ``medtl weights`` prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from medtl_monai.errors import WeightsError
from medtl_monai.weights.fetch import find_local, import_file, locate, verify, weights_folder
from medtl_monai.weights.licence import check_commercial, lineage_of_row
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights, pretrained

_HEADINGS = ("NAME", "NETWORK", "DIMS", "SIZE", "LICENCE", "COMMERCIAL", "PLACE")
_RIGHT = {"SIZE"}


def list_rows(options: argparse.Namespace) -> str:
    """A table of the registry, one line per row, filtered by dimensions, licence and presence."""
    chosen = [row for row in REGISTRY.values() if _wanted(row, options)]
    if not chosen:
        return f"none of the {len(REGISTRY)} rows"
    return _table([_HEADINGS, *map(_line, chosen)])


def show_row(options: argparse.Namespace) -> str:
    """All that is known about a row."""
    row = pretrained(options.name)
    fields = [*_identity(row), *_training_input(row), *_terms(row)]
    width = max(len(title) for title, _ in fields)
    return "\n".join(f"{title:<{width}}  {value}" for title, value in fields)


def fetch_row(options: argparse.Namespace) -> str:
    """Path of the verified local file, downloaded if necessary; ``--commercial`` refuses other licences beforehand."""
    row = pretrained(options.name)
    check_commercial([lineage_of_row(row)], options.commercial)
    return str(locate(row))


def verify_rows(options: argparse.Namespace) -> str:
    """Check the hash of one local file, or of all. Raises WeightsError if one differs or the named one is absent."""
    if options.name is not None:
        return _verify_one(pretrained(options.name))
    good: list[str] = []
    bad: list[str] = []
    for row in REGISTRY.values():
        if find_local(row) is not None:
            try:
                good.append(_verify_one(row))
            except WeightsError as error:
                bad.append(f"{row.name} {error.path} ({error.got})")
    if bad:
        raise WeightsError(
            f"{len(bad)} of {len(good) + len(bad)} local weights files are not the published ones",
            expected="the registered sha256",
            got="; ".join(bad),
            remedy="delete them and fetch them again: `medtl weights fetch NAME`",
        )
    return "\n".join(good) or f"no weights file of the registry is in {weights_folder()}"


def import_local(options: argparse.Namespace) -> str:
    """Copy a user's file into the weights folder."""
    row, path = import_file(options.file)
    return f"{row.name}: {path}"


def where(options: argparse.Namespace) -> str:
    """The weights folder."""
    return str(weights_folder())


ACTIONS: dict[str, Callable[[argparse.Namespace], str]] = {
    "list": list_rows,
    "show": show_row,
    "fetch": fetch_row,
    "verify": verify_rows,
    "import": import_local,
    "where": where,
}


def _wanted(row: PretrainedWeights, options: argparse.Namespace) -> bool:
    if options.spatial_dims is not None and row.input.spatial_dims != options.spatial_dims:
        return False
    if options.commercial and not row.commercial_use:
        return False
    return not options.local or find_local(row) is not None


def _line(row: PretrainedWeights) -> tuple[str, ...]:
    return (
        row.name,
        row.architecture,
        f"{row.input.spatial_dims}D",
        _megabytes(row),
        row.licence,
        "yes" if row.commercial_use else "no",
        "local" if find_local(row) else "import only" if row.converted else "to fetch",
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for heading, cell, width in zip(_HEADINGS, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _megabytes(row: PretrainedWeights) -> str:
    return f"{'~' if row.size_bytes is None else ''}{row.about_bytes / 1e6:.1f} MB"


def _size(row: PretrainedWeights) -> str:
    if row.size_bytes is None:
        return f"not published; about {row.about_bytes / 1e6:.0f} MB"
    return f"{row.size_bytes:,} bytes" + (f", give or take {row.size_tolerance:,}" if row.size_tolerance else "")


def _identity(row: PretrainedWeights) -> list[tuple[str, str]]:
    full = len(row.sha256) == 64
    return [
        ("name", row.name),
        ("architecture", row.architecture),
        ("url", row.url),
        ("file name", row.file_name),
        *([("converted", row.converted)] if row.converted else []),
        ("sha256", row.sha256 if full else f"{row.sha256}... (the publisher tells the first 8 digits only)"),
        ("size", _size(row)),
        ("on this machine", str(find_local(row) or "no")),
        ("naming", row.naming),
        ("tensors", f"{row.tensors:,}"),
        ("parameters", f"{row.parameters:,}"),
        ("head", f"{', '.join(row.head)} ({row.source_classes:,} classes)" if row.head else "none in the file"),
        ("training data", row.training_data),
    ]


def _training_input(row: PretrainedWeights) -> list[tuple[str, str]]:
    spec = row.input
    sides = f"shorter side to {spec.resize} pixels ({spec.interpolation}), centre {spec.crop} x {spec.crop}"
    return [
        ("input", f"{spec.channels} channel{'s' * (spec.channels > 1)}, {spec.spatial_dims}D, axes {spec.axis_order}"),
        ("spacing", f"{_numbers(spec.spacing)} mm" if spec.spacing else "none in common"),
        ("orientation", spec.orientation or "photographs: none"),
        ("normalisation", f"{spec.normalisation} ({spec.preprocessing})"),
        ("value range", " to ".join(f"{bound:g}" for bound in spec.value_range) if spec.value_range else "any"),
        ("mean", _numbers(spec.mean) if spec.mean else "of each scan"),
        ("std", _numbers(spec.std) if spec.std else "of each scan"),
        *([("resize and crop", sides)] if spec.resize else []),
    ]


def _terms(row: PretrainedWeights) -> list[tuple[str, str]]:
    return [
        ("licence", row.licence),
        ("commercial use", "allowed by the licence" if row.commercial_use else "NOT allowed"),
        *([("licence note", row.licence_note)] if row.licence_note else []),
        ("citation", row.citation),
    ]


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _verify_one(row: PretrainedWeights) -> str:
    path = find_local(row)
    if path is None:
        raise WeightsError(
            f"weights {row.name!r} are not on this machine",
            expected=f"{row.file_name} in {weights_folder()}",
            remedy=f"`medtl weights {'import FILE' if row.converted else f'fetch {row.name}'}`",
        )
    return f"{path}: sha256 {verify(row, path)} as published"
