"""A module that pydicom 3 removed and that pydicom-seg 0.4.1, a dependency of MONAI Label, still imports.

``medtl_monai.label.install`` puts a ``.pth`` file into the Label environment that calls `install` in every interpreter
there: MONAI Label trains in processes of their own. Nothing is imported before somebody asks for the missing module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MISSING = "pydicom._storage_sopclass_uids"


class StorageUids(MetaPathFinder, Loader):
    """Finds and makes `MISSING` with the one name that is used: ``SegmentationStorage``, from ``pydicom.uid``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for `MISSING`, None for every other name."""
        return ModuleSpec(fullname, self) if fullname == MISSING else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's usual empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module. Raises ImportError without pydicom."""
        uid = importlib.import_module("pydicom.uid")
        module.SegmentationStorage = uid.SegmentationStorage  # type: ignore[attr-defined]


def install() -> None:
    """Add the finder behind all others, once: a pydicom that has the module keeps its own."""
    if not any(isinstance(finder, StorageUids) for finder in sys.meta_path):
        sys.meta_path.append(StorageUids())
