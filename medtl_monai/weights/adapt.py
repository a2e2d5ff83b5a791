"""Published state dicts made to fit this library's networks: tensor names, then tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.weights.inflation import append_axis, inflate_centre, inflate_mean
from medtl_monai.weights.stem import fold_normalisation, sum_channels

_RESIDUAL = re.compile(
    r"block\.([123])\.dilation_block\.([012])\.residual_block\.([01])\.convolutional_block\.([03])\.(\w+)"
)
_PLAIN = re.compile(r"block\.([046])\.convolutional_block\.([012])\.(\w+)")
_PLAIN_PARTS = {  # (published block, position in it) -> block and layer in MONAI's HighResNet
    ("0", "1"): "blocks.0.conv",
    ("0", "2"): "blocks.0.adn.N",
    ("4", "0"): "blocks.10.conv",
    ("4", "1"): "blocks.10.adn.N",
    ("6", "0"): "blocks.11.conv",
    ("6", "1"): "blocks.11.adn.N",
}


def fepegar_highresnet_name(name: str) -> str:
    """Name in MONAI's ``HighResNet`` of a tensor of github.com/fepegar/highresnet. Raises WeightsError if unknown.

    The published network nests three groups (dilation 1, 2, 4) of three residual blocks of two (norm, convolution)
    pairs; MONAI numbers the nine residual blocks 1 to 9 and the four layers of each 0 to 3.
    """
    if match := _RESIDUAL.fullmatch(name):
        group, block, pair, position, tensor = match.groups()
        index = 3 * (int(group) - 1) + int(block) + 1
        layer = f"{2 * int(pair)}.N" if position == "0" else f"{2 * int(pair) + 1}.conv"
        return f"blocks.{index}.layers.{layer}.{tensor}"
    if (match := _PLAIN.fullmatch(name)) and (match[1], match[2]) in _PLAIN_PARTS:
        return f"{_PLAIN_PARTS[match[1], match[2]]}.{match[3]}"
    raise WeightsError("unknown tensor name", expected="a name of the published HighRes3DNet", got=name)


_DENSE_LAYER = re.compile(r"(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))\.([12]\.\w+)")


def published_name(name: str) -> str:
    """The name as it is: the network keeps the published names."""
    return name


def torchvision_densenet_name(name: str) -> str:
    """Name of a tensor of torchvision's DenseNet files, which write ``norm.1`` where the network says ``norm1``."""
    match = _DENSE_LAYER.fullmatch(name)
    return match[1] + match[2] if match else name


RENAMERS: dict[str, Callable[[str], str]] = {
    "fepegar_highresnet": fepegar_highresnet_name,
    "published": published_name,
    "torchvision": published_name,
    "torchvision_densenet": torchvision_densenet_name,
}

# What can be done to a published tensor; each takes it and the shape that the network's own tensor has.
ADAPTATIONS: dict[str, Callable[[torch.Tensor, torch.Size], torch.Tensor]] = {
    "fold": lambda published, wanted: fold_normalisation(published, wanted[1] - 1),
    "sum": lambda published, wanted: sum_channels(published, wanted[1]),
    "inflate_mean": lambda published, wanted: inflate_mean(published, wanted[-1]),
    "inflate_centre": lambda published, wanted: inflate_centre(published, wanted[-1]),
    "unsqueeze": lambda published, wanted: append_axis(published),
}

_IN_WORDS = {
    "fold": "ImageNet normalisation folded in",
    "sum": "summed over RGB",
    "inflate_mean": "inflated along depth, the mean",
    "inflate_centre": "inflated along depth, the centre",
    "unsqueeze": "an axis appended for depth",
}


def rename(state: Mapping[str, torch.Tensor], naming: str) -> dict[str, torch.Tensor]:
    """``state`` with every tensor renamed by the rule ``naming``, in the same order.

    Raises:
        WeightsError: names that the rule does not know, all of them at once.
    """
    renamed: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    for name, tensor in state.items():
        try:
            renamed[RENAMERS[naming](name)] = tensor
        except WeightsError:
            unknown.append(name)
    if unknown:
        raise WeightsError(
            "unknown tensor names",
            expected=f"names of {naming}",
            got=f"{len(unknown)} others among {len(state)} ({', '.join(unknown[:3])}{', ...' if unknown[3:] else ''})",
            remedy="fetch the published file again",
        )
    return renamed


def adapt_state(
    state: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Size],
    adaptation: Mapping[str, Sequence[str]],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """``state`` with the tensors that ``adaptation`` names changed by its rules, and what was done to each, in words.

    Files written before PyTorch 0.4.1 lack the batch counters of batch norm. Where a network wants one beside running
    statistics that the file has, it is added as 0, as PyTorch itself does; nothing is computed from it.

    Args:
        state: tensors as published, under the network's own names.
        wanted: name -> shape of the network's tensors.
        adaptation: tensor name -> keys of :data:`ADAPTATIONS`, in order. A name that the file lacks is passed over:
            the comparison of file and network reports it as missing.

    Raises:
        ConfigError: ``adaptation`` names a rule that does not exist or a tensor that the network lacks.
        WeightsError: tensors that the rules cannot work on, all of them at once.
    """
    _require_rules(wanted, adaptation)
    adapted, words = dict(state), dict[str, str]()
    refused: list[str] = []
    for name in (name for name in adaptation if name in state):
        try:
            for rule in adaptation[name]:
                adapted[name] = ADAPTATIONS[rule](adapted[name], wanted[name])
        except (WeightsError, ConfigError) as error:
            refused.append(f"{name}: {error}")
            continue
        steps = "; ".join(_IN_WORDS[rule] for rule in adaptation[name])
        words[name] = f"{steps}: {tuple(state[name].shape)} to {tuple(adapted[name].shape)}"
    if refused:
        raise WeightsError(
            "published tensors cannot be adapted",
            got=" | ".join(refused),
            remedy="use the weights that were published for this architecture",
        )
    for name in _absent_counters(state, wanted):
        adapted[name] = torch.tensor(0)
        words[name] = "not in the file, counts from 0"
    return adapted, words


def _require_rules(wanted: Mapping[str, torch.Size], adaptation: Mapping[str, Sequence[str]]) -> None:
    unknown = [f"rule {rule}" for rules in adaptation.values() for rule in rules if rule not in ADAPTATIONS]
    unknown += [f"tensor {name}" for name in adaptation if name not in wanted]
    if unknown:
        raise ConfigError(
            "the adaptation does not fit the network",
            expected="tensors of the network, and rules among " + ", ".join(ADAPTATIONS),
            got=", ".join(unknown),
            remedy="take it from the encoder's attribute `adaptation`",
        )


def _absent_counters(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Size]) -> list[str]:
    suffix = ".num_batches_tracked"
    names = [name for name in wanted if name.endswith(suffix) and name not in state]
    return [name for name in names if f"{name.removesuffix(suffix)}.running_mean" in state]
