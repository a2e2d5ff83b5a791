"""Names of result files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SUFFIXES = (".nii", ".nii.gz", ".dcm")


def by_input(meta: Mapping[str, Any], saver: object) -> dict[str, Any]:
    """``output_name_formatter`` of ``SaveImaged``: a result is named by its input file or DICOM folder.

    MONAI cuts off what follows the last dot. The folder of a DICOM series is often named by a UID; the series 1.2.3.1
    and 1.2.3.2 would both become 1.2.3. Here a folder keeps its whole name.

    Args:
        meta: metadata as MONAI's readers give it; ``filename_or_obj`` is used.
        saver: the calling transform; not used.
    """
    name = Path(str(meta["filename_or_obj"])).name
    has_suffix = name.lower().endswith(_SUFFIXES)
    return {"subject": name if has_suffix else f"{name}.nii", "idx": meta.get("patch_index")}
