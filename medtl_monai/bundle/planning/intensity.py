"""How intensities are brought to the network, and which mirror images are true images."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.recognition import MASK, PICTURE
from medtl_monai.bundle.planning.words import sided_names, window_words
from medtl_monai.transforms.ct import CT_WINDOWS

_MANY_ZEROS = 0.1  # share of voxels that are exactly 0: a masked or padded background


def choose_intensity(fingerprint: Fingerprint, modality: str, expected: str, name: str) -> Choice[dict[str, Any]]:
    """How intensities are prepared.

    Args:
        fingerprint: of the data.
        modality: as recognised.
        expected: what the network expects: ``"zscore"``, ``"robust_zscore"`` or ``"unit"``.
        name: of the bundle.

    Returns:
        ``kind``: ``"ct_window"`` (with ``window``), ``"ct_range"``, ``"zscore"`` (with ``nonzero``: over the voxels
        that are not 0), ``"robust_zscore"``, ``"unit"`` (0.5th to 99.5th percentile to [0, 1]), ``"picture"``
        (divided by the white of its file) or ``"mask"`` (0 and 1). Kinds of CT have ``low`` and ``high`` in HU, which
        go to [0, 1]. ``then``: what the network expects after that, ``"unit"`` for nothing more.
    """
    if modality == PICTURE:
        whites = sorted({case.dtype for case in fingerprint.read})
        after = "unit" if expected == "unit" else "zscore"
        reason = (
            f"pictures ({', '.join(whites)}) have a black and a white: [0, 1], then what the network expects ({after})"
        )
        return Choice({"kind": "picture", "then": after}, reason)
    if modality == MASK:
        reason = f"binary masks: 0 and 1, then what the network expects ({expected})"
        return Choice({"kind": "mask", "then": expected}, reason)
    if modality == "ct":
        return _ct(fingerprint, "unit" if expected == "unit" else "zscore", name)
    if modality == "mri" and expected == "zscore":
        zeros = float(np.median([case.zeros for case in fingerprint.read]))
        nonzero = zeros >= _MANY_ZEROS
        where = "the voxels that are not 0" if nonzero else "the whole volume"
        reason = f"MR has no unit; {zeros:.0%} of the median volume is exactly 0, so the z-score is over {where}"
        return Choice({"kind": "zscore", "nonzero": nonzero, "then": "zscore"}, reason)
    kind = expected if expected in ("robust_zscore", "unit") else "unit"
    reason = f"{modality} has no unit here, and the network expects {expected}: each image by its own percentiles"
    return Choice({"kind": kind, "then": expected}, reason)


def _ct(fingerprint: Fingerprint, after: str, name: str) -> Choice[dict[str, Any]]:
    inside = [case.foreground for case in fingerprint.read if case.foreground]
    rows = inside or [case.percentiles for case in fingerprint.read]
    low, middle, high = (float(np.median([row[key] for row in rows])) for key in (0.5, 50.0, 99.5))
    where = "labelled voxels" if fingerprint.task == "segmentation" else "the body (above -500 HU)"
    found = f"{where}: {low:.0f} to {high:.0f} HU (0.5th to 99.5th percentile), median {middle:.0f}"
    asked = window_words([name, *(text for value, text in fingerprint.names.items() if value or _classes(fingerprint))])
    if len(asked) == 1:
        window, words = next(iter(asked.items()))
        bounds = CT_WINDOWS[window]
        if bounds.low <= middle <= bounds.high:
            value = {"kind": "ct_window", "window": window, "low": bounds.low, "high": bounds.high, "then": after}
            return Choice(value, f"the names say {', '.join(words)}; {found}, within the {window} window")
        why = f"the names say {', '.join(words)}, but the {window} window leaves the median out"
    elif asked:
        why = f"the names ask for several windows ({', '.join(asked)})"
    else:
        why = "the names ask for no clinical window"
    if high - low < 1:
        high = low + 1.0
    return Choice({"kind": "ct_range", "low": round(low), "high": round(high), "then": after}, f"{why}; {found}")


def _classes(fingerprint: Fingerprint) -> bool:
    return fingerprint.task == "classification"


def choose_colour(fingerprint: Fingerprint) -> Choice[str]:
    """``"luminance"`` where pictures have colour, else ``"refuse"``, so that none slips in later."""
    coloured = [case.case for case in fingerprint.read if case.coloured]
    if not coloured:
        return Choice("refuse", f"none of the {len(fingerprint.read)} images read has colour")
    some = ", ".join(coloured[:3])
    reason = f"{len(coloured)} of {len(fingerprint.read)} images read have colour ({some}): networks here see grey, so"
    return Choice("luminance", f"{reason} the luminance (BT.601) is taken and what only colour tells is lost")


def choose_flips(fingerprint: Fingerprint, dims: int, orientation: str) -> Choice[list[int]]:
    """Axes of the image (without the channel) along which training images may be mirrored."""
    sided = sided_names(fingerprint.names)
    if sided:
        return Choice([], f"names tell left from right ({', '.join(sided[:4])}): a mirrored image would be mislabelled")
    nameless = [name for name in fingerprint.names.values() if re.fullmatch(r"label_[0-9]+", name)]
    if len(nameless) > 1:
        some = ", ".join(nameless[:3])
        return Choice([], f"{len(nameless)} labels have no names ({some}): they may tell left from right (--labels)")
    if dims == 2:
        return Choice([1], "no name tells left from right: mirrored along the columns, never upside down")
    axis = next(number for number, letter in enumerate(orientation) if letter in "LR")
    return Choice([axis], f"no name tells left from right: mirrored along the left-right axis of {orientation} only")
