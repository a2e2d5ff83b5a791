"""Preprocessing by name, as pretrained weights and networks ask for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from medtl_monai.errors import ConfigError
from medtl_monai.lookup import look_up
from medtl_monai.transforms.imagenet import imagenet
from medtl_monai.transforms.medicalnet import medicalnet_demo, medicalnet_paper
from medtl_monai.transforms.mri import robust_zscore, unit, zscore

PREPROCESSING: dict[str, Callable[..., list[MapTransform]]] = {
    "imagenet": imagenet,
    "medicalnet_paper": medicalnet_paper,
    "medicalnet_demo": medicalnet_demo,
    "zscore": zscore,
    "unit": unit,
}
INTENSITIES: dict[str, Callable[[KeysCollection], list[MapTransform]]] = {
    "zscore": zscore,
    "robust_zscore": robust_zscore,
    "unit": unit,
}


def preprocessing(name: str, keys: KeysCollection, options: Mapping[str, Any] | None = None) -> list[MapTransform]:
    """The dictionary transforms of a named preprocessing, in order, for channel-first images with an affine.

    Args:
        name: a key of :data:`PREPROCESSING`.
        keys: the images.
        options: settings of that preprocessing, by the names of its own arguments (``spacing``, ``size``, ``seed``,
            ``crop``, ``label_keys``, ``window``).

    Raises:
        ConfigError: no preprocessing has this name, it has no such option, or it refuses a setting.
    """
    factory = look_up(PREPROCESSING, name, "preprocessing")
    known = {option: option for option in inspect.signature(factory).parameters if option != "keys"}
    chosen = dict(options or {})
    if chosen and not known:
        raise ConfigError(f"preprocessing {name!r} has no options", got=", ".join(chosen))
    for option in chosen:
        look_up(known, option, f"option of preprocessing {name!r}")
    return factory(keys, **chosen)


def intensity_transform(intensity: str, keys: KeysCollection) -> MapTransform:
    """The transform to the intensities that a network expects (its attribute ``intensity``), channel by channel.

    ``"zscore"``: zero mean and unit variance per volume. ``"robust_zscore"``: the same after clipping to the 0.5th and
    99.5th percentile, as MedicalNet was trained. ``"unit"``: the 0.5th to 99.5th percentile to [0, 1],
    clipped.

    Raises:
        ConfigError: another name.
    """
    (transform,) = look_up(INTENSITIES, intensity, "intensity")(keys)
    return transform
