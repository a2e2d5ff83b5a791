"""The encoder of a source, filled and ready to give features."""

from __future__ import annotations

import torch

from medtl_monai.errors import ConfigError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.encoders import INFLATIONS, published_architecture
from medtl_monai.networks.factory import build_network, network_name
from medtl_monai.networks.inflate import inflate
from medtl_monai.networks.unet import SmallUNet
from medtl_monai.transfer.matching import encoder_of
from medtl_monai.transfer.source import load_source, network_for_source

_DEFAULTS = {2: "classifier_resnet18", 3: "classifier_resnet18_i3d"}
_UNET = "unet"


class ContractingPath(Encoder):
    """The contracting path of the library's small U-Net as an encoder: four levels, strides 1, 2, 4 and 8.

    Args:
        network: the U-Net; its modules are used, not copied.
    """

    def __init__(self, network: SmallUNet) -> None:
        super().__init__()
        self.architecture, self.spatial_dims, self.in_channels = _UNET, 3, network.in_channels
        self.stem, self.down1, self.down2, self.down3 = network.stem, network.down1, network.down2, network.down3
        convolutions = [level[1][0] for level in (self.stem, self.down1, self.down2, self.down3)]
        self.channels = tuple(convolution.out_channels for convolution in convolutions)
        self.out_channels = self.channels[-1]
        self.strides = tuple((stride, stride, stride) for stride in (1, 2, 4, 8))
        self.min_size, self.size_multiple = 16, 8
        self.stages = {name: (name,) for name in ("stem", "down1", "down2", "down3")}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Four feature maps of an image ``(B, in_channels, H, W, D)`` whose lengths are multiples of 8, 16 at least."""
        levels = [self.stem(image)]
        for level in (self.down1, self.down2, self.down3):
            levels.append(level(levels[-1]))
        return levels


def split_method(source: str) -> tuple[str, str]:
    """A source and how it is inflated to 3D: ``"name@acs"`` is ``("name", "acs")``; empty where nothing is said."""
    name, at, method = source.rpartition("@")
    return (name, method) if at and method in INFLATIONS else (source, "")


def source_encoder(source: str, dims: int, in_channels: int = 1) -> Encoder:
    """The encoder of a registry name, a weights file or a bundle, filled from it.

    Args:
        source: as for ``--source``; 2D networks for 3D images may say how they are inflated: ``@i3d`` (the default),
            ``@centre`` or ``@acs``.
        dims: spatial axes of the images, 2 or 3.
        in_channels: channels of the images.

    Raises:
        WeightsError: the weights are absent, damaged or of no network of this library.
        ConfigError: a 3D source for 2D images, a network without an encoder, an inflation where there is none.
    """
    name, method = split_method(source)
    network = _encoder_network(network_for_source(name, default=_DEFAULTS[dims]), source)
    own_dims = network_name(network).spatial_dims
    if own_dims > dims:
        raise ConfigError(f"source {source!r} is a {own_dims}D network", expected=f"a source for {dims}D images")
    if method and own_dims == dims:
        network = _other_inflation(network, method, source)
    built = build_network(network, in_channels=in_channels)
    load_source(built, name)
    encoder = _encoder_in(built)
    return encoder if own_dims == dims else inflate(encoder, INFLATIONS[method or "i3d"])


def random_encoder(architecture: str, in_channels: int, seed: int) -> Encoder:
    """An encoder of the same architecture with initial weights that depend on ``seed`` alone."""
    name = _UNET if architecture == _UNET else f"classifier_{architecture}"
    return _encoder_in(build_network(name, in_channels=in_channels, seed=seed))


def parameters_of(encoder: Encoder) -> int:
    """How many parameter values an encoder has."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def _encoder_network(name: str, source: str) -> str:
    """The network of this library to load a source into, so that its encoder can be taken out."""
    if name == _UNET:
        return name
    encoder = name if name == "highres3dnet" else name.partition("_")[2]
    if name.startswith("bundle:") or not encoder:
        raise ConfigError(
            f"source {source!r} is a network without an encoder",
            expected="an encoder of this library, or a network around one",
            got=name.partition(":")[0],
            remedy="leave it out of --sources; to compare it, train it: `medtl study`",
        )
    return f"classifier_{encoder}"


def _other_inflation(network: str, method: str, source: str) -> str:
    base = published_architecture(network)
    if not any(network.endswith(f"_{suffix}") for suffix in INFLATIONS):
        raise ConfigError(
            f"source {source!r} is not inflated", expected="a 2D network for 3D images", got=f"a 3D network, {base}"
        )
    return f"{base}_{method}"


def _encoder_in(network: object) -> Encoder:
    if isinstance(network, SmallUNet):
        return ContractingPath(network).eval()  # type: ignore[return-value]
    encoder = encoder_of(network)  # type: ignore[arg-type]
    if encoder is None:
        raise ConfigError("this network has no encoder", got=type(network).__name__)
    return encoder.eval()  # type: ignore[return-value]
