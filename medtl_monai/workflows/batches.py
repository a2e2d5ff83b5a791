"""Names of the cases in a batch, whether MONAI's engine has split it into items or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAMELESS = "not named"


def batch_cases(batch: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[str]:
    """Case names of a batch: its ``case`` entries, else the image file names without suffixes."""
    if isinstance(batch, Mapping):
        cases = batch.get("case")
        return [str(case) for case in cases] if cases is not None else [NAMELESS]
    return [str(item["case"]) if "case" in item else _image_name(item) for item in batch]


def _image_name(item: Mapping[str, Any]) -> str:
    meta = getattr(item.get("image"), "meta", {})
    name = Path(str(meta.get("filename_or_obj", NAMELESS))).name
    return name.removesuffix(".gz").removesuffix(".nii")
