"""What ``medtl weights`` prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from medtl_monai.errors import WeightsError
from medtl_monai.weights.fetch import find_local, import_file, locate, verify, weights_folder
from medtl_monai.weights.registry import REGISTRY, pretrained


def list_rows(options: argparse.Namespace) -> str:
    """One line per registry row."""
    lines = []
    for row in REGISTRY.values():
        place = "local" if find_local(row) else "not local"
        commercial = "commercial use allowed" if row.commercial_use else "non-commercial only"
        lines.append(
            f"{row.name}  {row.architecture}  {row.size_bytes / 1e6:.1f} MB  {row.licence} ({commercial})  {place}"
        )
    return "\n".join(lines)


def show_row(options: argparse.Namespace) -> str:
    """All fields of a row."""
    fields = asdict(pretrained(options.name))
    fields.update({f"input {name}": value for name, value in fields.pop("input").items()})
    return "\n".join(f"{name.replace('_', ' '):<20} {value}" for name, value in fields.items())


def fetch_row(options: argparse.Namespace) -> str:
    """Path of the verified local file, downloaded if necessary."""
    return str(locate(pretrained(options.name)))


def verify_row(options: argparse.Namespace) -> str:
    """Check the local file's hash. Raises WeightsError if it is absent or differs."""
    row = pretrained(options.name)
    path = find_local(row)
    if path is None:
        raise WeightsError(
            f"weights {row.name!r} are not on this machine",
            expected=f"{row.file_name} in {weights_folder()}",
            remedy=f"`medtl weights fetch {row.name}`",
        )
    verify(row, path)
    return f"{path}: sha256 {row.sha256} as published"


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
    "verify": verify_row,
    "import": import_local,
    "where": where,
}
