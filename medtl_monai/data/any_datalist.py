"""A datalist of either task."""

from __future__ import annotations

import json
from pathlib import Path

from medtl_monai.data.classification import ClassificationDatalist
from medtl_monai.data.datalist import Datalist


def load_datalist(path: Path) -> Datalist | ClassificationDatalist:
    """Read a datalist of masks or of classes, whichever its ``task`` says, as strictly as each does itself.

    Raises:
        ConfigError, DataError: as :meth:`Datalist.load` or :meth:`ClassificationDatalist.load`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None  # the strict reader says what is wrong
    classes = isinstance(content, dict) and content.get("task") == "classification"
    return ClassificationDatalist.load(path) if classes else Datalist.load(path)
