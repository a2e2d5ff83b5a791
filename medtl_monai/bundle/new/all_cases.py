"""The cases that no fingerprint has read: a training would read them all, and refuse then what can be refused now."""

from __future__ import annotations

from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.inventory import Inventory
from medtl_monai.data.checks import require_valid_cases
from medtl_monai.data.classification_checks import require_valid_class_cases
from medtl_monai.io.picture import Colour


def require_all_cases(inventory: Inventory, fingerprint: Fingerprint, colour: str) -> None:
    """Read every case that the fingerprint has left out, and refuse if any cannot be used.

    Args:
        inventory: of the data.
        fingerprint: taken of some of its cases.
        colour: ``"luminance"`` where coloured pictures are wanted; else they are refused.

    Raises:
        DataError: one for all bad cases, each with its problem.
    """
    known = {case.case for case in fingerprint.read}
    rows = [
        {
            "case": case.case,
            "image": str(inventory.folder / case.image),
            "label": str(inventory.folder / str(case.label)),
        }
        for case in inventory.cases
        if case.case not in known
    ]
    if inventory.task == "segmentation":
        require_valid_cases(rows, tuple(inventory.names))
        return
    wanted: Colour = "luminance" if colour == "luminance" else "refuse"
    require_valid_class_cases(rows, wanted)
