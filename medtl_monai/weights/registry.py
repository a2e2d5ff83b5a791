"""Pretrained weights as values: what they are, where they live, what input they were trained on, who may use them."""

from __future__ import annotations

import difflib

from medtl_monai.errors import WeightsError
from medtl_monai.weights import highres3dnet, imagenet, medicalnet
from medtl_monai.weights.row import InputSpec, PretrainedWeights

__all__ = ["REGISTRY", "InputSpec", "PretrainedWeights", "pretrained"]

REGISTRY: dict[str, PretrainedWeights] = {
    row.name: row for row in (*highres3dnet.ROWS, *medicalnet.ROWS, *imagenet.ROWS)
}


def pretrained(name: str) -> PretrainedWeights:
    """The registry row of a name. Raises WeightsError, with the nearest names, if there is none."""
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=3)
    all_names = "`medtl weights list` shows what there is"
    raise WeightsError(
        "unknown pretrained weights",
        expected=f"one of the {len(REGISTRY)} names in the registry",
        got=name,
        remedy=f"did you mean {' or '.join(map(repr, near))}? {all_names}" if near else all_names,
    )
