"""The input that a network expects, as transforms for a bundle's configuration."""

from __future__ import annotations

from monai.config import KeysCollection
from monai.transforms import MapTransform, Orientationd
from torch import nn

from medtl_monai.transforms.preprocessing import intensity_transform


def orientation_for(network: nn.Module, keys: KeysCollection) -> MapTransform:
    """Turn images to the array axes that a network was trained on: its attribute ``orientation``, else RAS.

    The published MedicalNet weights read volumes slice by slice, superior axis first (``"SAR"``). The turn is recorded
    in the image's affine, so that ``Invertd`` brings a mask back to the scan's own axes.
    """
    return Orientationd(keys, axcodes=str(getattr(network, "orientation", "") or "RAS"), labels=None)


def intensity_for(network: nn.Module, keys: KeysCollection) -> MapTransform:
    """Bring intensities to what a network expects: its attribute ``intensity``, else ``"zscore"``.

    Raises:
        ConfigError: the network expects something that this library does not know.
    """
    return intensity_transform(str(getattr(network, "intensity", "zscore")), keys)
