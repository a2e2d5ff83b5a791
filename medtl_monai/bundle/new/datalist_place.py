"""Where the split of the data is written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtl_monai.bundle.planning.inventory import DATALIST_NAME, AnyDatalist, Inventory
from medtl_monai.errors import OutputError

IN_BUNDLE = f"$@bundle_root + '/{DATALIST_NAME}'"


@dataclass(frozen=True)
class DatalistPlace:
    """A datalist and its file.

    Attributes:
        made: the datalist.
        in_data: whether it is ``datalist.json`` of the dataset folder; else it is in the bundle.
        written: the file that was made in the dataset folder; None where it was there, or is in the bundle.
        why: why it is there, as one sentence.
    """

    made: AnyDatalist
    in_data: bool
    written: Path | None
    why: str

    @property
    def knob(self) -> str:
        """Default of the knob ``datalist``."""
        return "" if self.in_data else IN_BUNDLE


def place_datalist(inventory: Inventory, split: dict[str, Any]) -> DatalistPlace:
    """Write the datalist into the dataset folder, where every command looks for it; else it goes into the bundle.

    All bundles that are trained on a folder then share its split: no test case of one is a training case of another.
    A file that is there is kept, and used.

    Args:
        inventory: of the data.
        split: the plan's.

    Raises:
        DataError, ConfigError: as `Inventory.datalist`.
    """
    target = inventory.folder / DATALIST_NAME
    if inventory.given is not None:
        return _given(inventory, inventory.given)
    made = inventory.datalist(validation=split["validation"], test=split["test"], seed=split["seed"])
    try:
        if target.exists():
            raise OutputError("made meanwhile by somebody else", path=target)
        made.save(target)
    except OutputError as error:
        return DatalistPlace(made, False, None, f"in the bundle: the dataset folder cannot be written ({error.got})")
    return DatalistPlace(made, True, target, "in the dataset folder, where every command looks for it")


def _given(inventory: Inventory, made: AnyDatalist) -> DatalistPlace:
    if inventory.layout == f"a datalist ({DATALIST_NAME})":
        return DatalistPlace(made, True, None, "the one that came with the data")
    return DatalistPlace(made, False, None, "in the bundle: a copy of the datalist that was named")
