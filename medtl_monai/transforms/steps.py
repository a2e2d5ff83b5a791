"""Several deterministic transforms as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform


class Steps(MapTransform, InvertibleTransform):
    """Transforms one after the other, inverted in reverse.

    A ``Compose`` inside a ``Compose`` counts as random in MONAI: a ``CacheDataset`` would not keep its result and
    compute it in every epoch.

    Args:
        keys: what the steps work on.
        steps: dictionary transforms without randomness; those that are no ``InvertibleTransform`` stay in an inversion.
    """

    def __init__(self, keys: KeysCollection, steps: Sequence[MapTransform]) -> None:
        self.steps = tuple(steps)
        super().__init__(keys)

    @property
    def allow_missing_keys(self) -> bool:
        """Whether absent items are left out; ``Invertd`` sets it for the time of an inversion."""
        return self._allow_missing_keys

    @allow_missing_keys.setter
    def allow_missing_keys(self, allowed: bool) -> None:
        if hasattr(self, "_allow_missing_keys"):
            self._inversion(allowed)
        self._allow_missing_keys = allowed

    def _inversion(self, begins: bool) -> None:
        if begins:
            self._own = [step.allow_missing_keys for step in self.steps]
        for step, own in zip(self.steps, self._own, strict=True):
            step.allow_missing_keys = begins or own

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The items after all steps."""
        items = dict(data)
        for step in self.steps:
            items = dict(step(items))
        return items

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The items before the steps, as far as they can be inverted."""
        items = dict(data)
        for step in reversed(self.steps):
            if isinstance(step, InvertibleTransform):
                items = dict(step.inverse(items))
        return items
