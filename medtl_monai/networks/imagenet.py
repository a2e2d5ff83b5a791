"""2D encoders with the architectures and tensor names of torchvision's ImageNet networks."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from medtl_monai.lookup import look_up
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.imagenet_base import ImageNetEncoder
from medtl_monai.networks.imagenet_features import DenseNetEncoder, FeaturesEncoder, Layout, SwinEncoder
from medtl_monai.networks.imagenet_resnet import ResNetEncoder
from medtl_monai.networks.imagenet_vit import ViTEncoder
from medtl_monai.networks.stem import adapt_stem, require_stem

_FIVE = (2, 4, 8, 16, 32)
_FOUR = (4, 8, 16, 32)
_DENSENET121 = Layout(
    "features.conv0", (2, 4, 6, 8, 11), (64, 256, 512, 1024, 1024), _FIVE, cuts=(0, 4, 5, 7, 9), min_size=29
)
_SWIN_T = Layout("features.0.0", (1, 3, 5, 7), (96, 192, 384, 768), _FOUR, cuts=(0, 1, 2, 4, 6), min_size=4)
_LAYOUTS = {
    "efficientnet_b0": Layout("features.0.0", (1, 2, 3, 5, 8), (16, 24, 40, 112, 1280), _FIVE, (0, 1, 2, 3, 4, 6)),
    "efficientnet_b3": Layout("features.0.0", (1, 2, 3, 5, 8), (24, 32, 48, 136, 1536), _FIVE, (0, 1, 2, 3, 4, 6)),
    "mobilenet_v3_large": Layout("features.0.0", (1, 3, 6, 12, 16), (16, 24, 40, 112, 960), _FIVE, (0, 1, 2, 4, 7, 13)),
    "squeezenet1_0": Layout(
        "features.0", (1, 5, 10, 12), (96, 256, 512, 512), (2, 4, 8, 16), (0, 3, 6, 11), 21, margin=(2, 3)
    ),
    "convnext_tiny": Layout("features.0.0", (1, 3, 5, 7), (96, 192, 384, 768), _FOUR, (0, 1, 2, 4, 6), 32),
}
_VGG16 = Layout(
    "features.0", (5, 12, 22, 32, 42, 43), (64, 128, 256, 512, 512, 512), (1, *_FIVE), (0, 3, 7, 14, 24, 34), 32
)


def _resnet(architecture: str) -> ImageNetEncoder:
    return ResNetEncoder(architecture, models.get_model(architecture, weights=None))


def _features(architecture: str) -> ImageNetEncoder:
    network = models.get_model(architecture, weights=None)
    return FeaturesEncoder(architecture, network.features, _LAYOUTS[architecture])


def _densenet121(architecture: str) -> ImageNetEncoder:
    return DenseNetEncoder(architecture, models.densenet121(weights=None).features, _DENSENET121)


def _vgg16_bn(architecture: str) -> ImageNetEncoder:
    # torchvision would also build the classifier, 124 million parameters; hence its layers and its rule, without it.
    features = make_layers(cfgs["D"], batch_norm=True)
    for layer in features:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return FeaturesEncoder(architecture, features, _VGG16)


def _swin_t(architecture: str) -> ImageNetEncoder:
    network = models.swin_t(weights=None)
    return SwinEncoder(architecture, network.features, _SWIN_T, network.norm)


def _vit_b_16(architecture: str) -> ImageNetEncoder:
    return ViTEncoder(architecture, models.vit_b_16(weights=None))


_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d")
_BUILDERS: dict[str, Callable[[str], ImageNetEncoder]] = {
    **dict.fromkeys(_RESNETS, _resnet),
    **dict.fromkeys(_LAYOUTS, _features),
    "densenet121": _densenet121,
    "vgg16_bn": _vgg16_bn,
    "swin_t": _swin_t,
    "vit_b_16": _vit_b_16,
}
IMAGENET_ARCHITECTURES = tuple(_BUILDERS)


def build_imagenet_encoder(architecture: str, in_channels: int = 3, stem: str = "fold") -> Encoder:
    """Build a 2D encoder with torchvision's initial weights, drawn from the global random state.

    Args:
        architecture: one of :data:`IMAGENET_ARCHITECTURES`, named as in torchvision.
        in_channels: channels of the image.
        stem: how they reach the RGB stem: ``rgb``, ``fold``, ``replicate`` or ``sum``, see
            :func:`medtl_monai.networks.stem.adapt_stem`.

    Raises:
        ConfigError: an unknown architecture or stem, or a stem that does not take this number of channels.
    """
    builder = look_up(_BUILDERS, architecture, "2D encoder")
    require_stem(stem, in_channels)
    encoder = builder(architecture)
    adapt_stem(encoder, in_channels, stem)
    return encoder
