"""With which software, and when, the runs of a study were made."""

from __future__ import annotations

import datetime
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medtl_monai.errors import ConfigError
from medtl_monai.io.atomic import write_text

FILE = "software.json"
_PACKAGES = ("medtl-monai", "monai", "torch", "numpy", "scikit-learn", "scipy")


def record_software(folder: Path) -> None:
    """Add today's software to the study's list unless it is that of the last entry. Raises OutputError."""
    entries = read_software(folder)
    now = {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if not entries or entries[-1]["versions"] != now:
        entries.append({"since": datetime.date.today().isoformat(), "versions": now})
        write_text(folder / FILE, json.dumps(entries, indent=2) + "\n")


def read_software(folder: Path) -> list[dict[str, Any]]:
    """The entries so far, oldest first. Raises ConfigError if the file is not such a list."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries:
            dict(entry["versions"]), str(entry["since"])
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError("the study's list of software cannot be read", path=path, got=error) from error
    return entries


def software_words(folder: Path) -> dict[str, str]:
    """``software since DATE`` -> names and versions, for the report."""
    return {
        f"software since {entry['since']}": ", ".join(f"{name} {value}" for name, value in entry["versions"].items())
        for entry in read_software(folder)
    }
