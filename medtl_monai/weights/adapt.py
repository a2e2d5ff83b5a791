"""Renaming of published tensor names to the names of this library's networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from medtl_monai.errors import WeightsError

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


RENAMERS: dict[str, Callable[[str], str]] = {"fepegar_highresnet": fepegar_highresnet_name}


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
