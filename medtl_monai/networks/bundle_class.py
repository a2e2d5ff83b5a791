"""A network class of MONAI and its arguments: which of them name the channels, and what may not be set."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks import nets
from torch import nn
from torch.overrides import TorchFunctionMode

from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_definition import MONAI_NETWORKS, NetworkDefinition

# One image in, one tensor of logits out, no download and no code that their arguments could choose.
SUPPORTED = (
    *("AttentionUnet", "BasicUNet", "DynUNet", "FlexibleUNet", "MedNeXt", "SegResNet", "SegResNetDS", "SwinUNETR"),
    *("UNETR", "UNet", "VNet"),
    *("DenseNet", "DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264", "EfficientNetBN", "ResNet", "SENet154"),
    *("SEResNext101", "SEResNext50", "SEResNet101", "SEResNet152", "SEResNet50", "TorchVisionFCModel"),
    *("resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200"),
)
_OUT = ("out_channels", "num_classes", "n_classes", "class_num")
_IN = ("in_channels", "n_input_channels")
_DIMS = ("spatial_dims", "dimensions", "dim")
_DROPOUT = ("dropout", "dropout_prob", "dropout_rate", "drop_rate")
_NEVER: Mapping[str, object] = {"pretrained": False, "progress": False, "weights": None}  # the file has the weights
_RENAMED = {"dimensions": "spatial_dims", "pos_embed": "proj_type"}  # by MONAI, old name -> new name
_RETIRED = {"SwinUNETR": ("img_size",)}  # by MONAI: only checked, no tensor depended on it
_BUILD_ERRORS = (TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError, AssertionError)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonaiClass:
    """A class (or function) of MONAI that makes a network, and its arguments.

    Attributes:
        definition: where it comes from.
        factory: makes the network.
        arguments: for ``factory``, channels and dropout included.
        out_argument: the argument that holds the number of output channels.
        spatial_dims: 2 or 3.
    """

    definition: NetworkDefinition
    factory: Callable[..., nn.Module]
    arguments: Mapping[str, Any]
    out_argument: str
    spatial_dims: int

    def build(self, out_channels: int) -> nn.Module:
        """A new network with ``out_channels`` output channels. Raises ConfigError if MONAI refuses the arguments."""
        try:
            with _NumbersOnTheHost():
                return self.factory(**{**self.arguments, self.out_argument: out_channels})
        except ImportError as error:
            raise self._error("needs a package that is not installed", error, "install it") from error
        except _BUILD_ERRORS as error:
            remedy = "the bundle may need another version of MONAI: see `monai_version` in its metadata.json"
            raise self._error("cannot be built with the bundle's arguments", error, remedy) from error

    def _error(self, problem: str, error: Exception, remedy: str) -> ConfigError:
        text = f"{self.definition.target} {problem}"
        return ConfigError(text, path=self.definition.path, got=f"{type(error).__name__}: {error}", remedy=remedy)


class _NumbersOnTheHost(TorchFunctionMode):
    """Lets MONAI read the values of a ``torch.linspace`` while tensors are made without memory (device meta)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def monai_class(definition: NetworkDefinition, in_channels: int, dropout: float) -> MonaiClass:
    """The class that a definition names, with the task's channels and dropout in place of the bundle's.

    Args:
        definition: of a MONAI network.
        in_channels: input channels of the task; ``TorchVisionFCModel`` takes 3 alone.
        dropout: dropout probability, where the class has an argument for it.

    Raises:
        ConfigError: a class that is not in :data:`SUPPORTED`, arguments that this version of MONAI does not have, or a
            network that returns several outputs (deep supervision).
    """
    name = definition.target.rpartition(".")[2]
    factory: Any = getattr(nets, name, None)
    short = getattr(factory, "__name__", "")
    full_names = (name, f"{MONAI_NETWORKS}.{name}", f"{getattr(factory, '__module__', '')}.{short}")
    if short not in SUPPORTED or definition.target not in full_names:
        raise ConfigError(
            f"the bundle's network ({definition.id!r}) is not supported",
            path=definition.path,
            expected=f"a class of {MONAI_NETWORKS}, one of {', '.join(SUPPORTED)}",
            got=definition.target,
            remedy="choose a bundle with such a network",
        )
    parameters = _parameters(factory)
    arguments = {**_current(definition, short, parameters), **{k: v for k, v in _NEVER.items() if k in parameters}}
    _require_one_output(definition, arguments)
    if short == "TorchVisionFCModel":  # its `in_channels` is that of the last layer
        _require_colour(definition, in_channels)
    else:
        arguments[_first(_IN, parameters)] = in_channels
    chance = _first(_DROPOUT, parameters)
    if chance and "dropout_prob_down" not in parameters:  # VNet: the layers are there, and the argument is out of date
        arguments[chance] = dropout
    dims = _first(_DIMS, parameters)
    spatial_dims = arguments.get(dims, parameters[dims].default)
    return MonaiClass(definition, factory, arguments, _first(_OUT, parameters), spatial_dims)


def _parameters(factory: Any) -> dict[str, inspect.Parameter]:
    """Arguments by name, also those that are handed on to a base class (or by a function to ``ResNet``)."""
    makers = factory.__mro__ if inspect.isclass(factory) else (factory, nets.ResNet)
    found: dict[str, inspect.Parameter] = {}
    for maker in makers:
        signature = inspect.signature(maker).parameters
        named = {n: p for n, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        found = {**named, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in signature.values()):
            break
    return found


def _first(names: tuple[str, ...], parameters: Mapping[str, object]) -> str:
    return next((name for name in names if name in parameters), "")


def _current(definition: NetworkDefinition, short: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    """The bundle's arguments under the names of the installed MONAI."""
    arguments = {
        name if name in parameters else _RENAMED.get(name, name): value
        for name, value in definition.arguments.items()
        if name in parameters or name not in _RETIRED.get(short, ())
    }
    changed = [name for name in definition.arguments if name not in arguments]
    if changed:
        logger.info("%s: arguments that MONAI renamed or retired: %s", definition.path, ", ".join(changed))
    unknown = [name for name in arguments if name not in parameters]
    if unknown:
        raise ConfigError(
            f"{short} of this version of MONAI has no such arguments",
            path=definition.path,
            expected="some of " + ", ".join(parameters),
            got=", ".join(unknown),
            remedy="the bundle may need another version of MONAI: see `monai_version` in its metadata.json",
        )
    return arguments


def _require_one_output(definition: NetworkDefinition, arguments: Mapping[str, Any]) -> None:
    depth = arguments.get("dsdepth")
    several = isinstance(depth, int) and depth > 1
    if several or arguments.get("deep_supervision"):
        raise ConfigError(
            "the bundle's network returns several outputs in training (deep supervision)",
            path=definition.path,
            expected="one tensor of logits",
            got=f"dsdepth {depth}" if several else "deep_supervision",
            remedy="choose a bundle whose network has one output",
        )


def _require_colour(definition: NetworkDefinition, in_channels: int) -> None:
    if in_channels != 3:
        raise ConfigError(
            "TorchVisionFCModel takes colour images alone", path=definition.path, expected="3 channels", got=in_channels
        )
