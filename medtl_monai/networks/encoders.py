"""Encoders by name."""

from __future__ import annotations

from medtl_monai.lookup import look_up
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.highresnet import HighRes3DNetEncoder
from medtl_monai.networks.imagenet import IMAGENET_ARCHITECTURES, build_imagenet_encoder
from medtl_monai.networks.inflate import METHODS, inflate
from medtl_monai.networks.medicalnet import DEPTHS, MedicalNetEncoder

INFLATIONS = {suffix: method for method, suffix in METHODS.items()}
_STRIDE_32 = "_stride32"

ENCODERS_2D: tuple[str, ...] = tuple(IMAGENET_ARCHITECTURES)
ENCODERS_3D: tuple[str, ...] = (
    *(f"medicalnet_resnet{depth}{variant}" for depth in DEPTHS for variant in ("", _STRIDE_32)),
    "highres3dnet",
    *(f"{architecture}_{suffix}" for architecture in ENCODERS_2D for suffix in INFLATIONS),
)
DIMENSIONS: dict[str, int] = {**dict.fromkeys(ENCODERS_2D, 2), **dict.fromkeys(ENCODERS_3D, 3)}


def published_architecture(name: str) -> str:
    """The architecture whose published weights an encoder takes: its name without ``_i3d``, ``_stride32`` and so on."""
    for suffix in (_STRIDE_32, *(f"_{inflation}" for inflation in INFLATIONS)):
        name = name.removesuffix(suffix)
    return name


def build_encoder(name: str, in_channels: int = 1) -> Encoder:
    """An encoder with random initial weights.

    Names in 2D are torchvision's (``resnet18``); in 3D ``medicalnet_resnet18`` (output stride 8, as published),
    ``medicalnet_resnet18_stride32``, ``highres3dnet``, and each 2D name followed by ``_i3d`` (kernels repeated in depth
    and divided), ``_centre`` (kernel in the middle slice) or ``_acs`` (axial, coronal and sagittal kernels).

    ImageNet encoders take intensities in [0, 1] and normalise inside, exactly (stem ``"fold"``).

    Raises:
        ConfigError: an unknown name; the message names the nearest.
    """
    if look_up(DIMENSIONS, name, "encoder") == 2:
        return build_imagenet_encoder(name, in_channels)
    if name == "highres3dnet":
        return HighRes3DNetEncoder(in_channels)
    if name.startswith("medicalnet_resnet"):
        depth = int(published_architecture(name).removeprefix("medicalnet_resnet"))
        return MedicalNetEncoder(depth, in_channels, output_stride=32 if name.endswith(_STRIDE_32) else 8)
    base, _, suffix = name.rpartition("_")
    return inflate(build_imagenet_encoder(base, in_channels), INFLATIONS[suffix])
