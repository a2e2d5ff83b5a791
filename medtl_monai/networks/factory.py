"""Networks by name, and the one place where a configuration's ``network`` knob is understood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from medtl_monai.lookup import look_up
from medtl_monai.networks.bundle_network import PREFIX as BUNDLE_PREFIX
from medtl_monai.networks.bundle_network import bundle_network
from medtl_monai.networks.encoders import ENCODERS_2D, ENCODERS_3D, build_encoder
from medtl_monai.networks.highresnet import HighRes3DNet
from medtl_monai.networks.staged import StagedNetwork, require_dropout
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.networks.transfer_dense import TransferDense
from medtl_monai.networks.transfer_unet import TransferUNet
from medtl_monai.networks.unet import SmallUNet

Task = Literal["segmentation", "classification"]
_PREFIXES: dict[str, Task] = {"unet_": "segmentation", "dense_": "segmentation", "classifier_": "classification"}


@dataclass(frozen=True)
class NetworkName:
    """What a network's name says.

    Attributes:
        name: ``unet``, ``highres3dnet``, ``unet_<encoder>``, ``dense_<encoder>`` or ``classifier_<encoder>``.
        task: what it does.
        spatial_dims: 2 or 3.
        encoder: name of its encoder, empty for the two networks that have none.
    """

    name: str
    task: Task
    spatial_dims: int
    encoder: str

    @property
    def family(self) -> str:
        """What is built around the encoder: ``unet``, ``dense`` or ``classifier``; the name of the other networks."""
        return self.name.removesuffix(f"_{self.encoder}") if self.encoder else self.name


NETWORKS: dict[str, NetworkName] = {
    row.name: row
    for row in (
        NetworkName("unet", "segmentation", 3, ""),
        NetworkName("highres3dnet", "segmentation", 3, ""),
        *(
            NetworkName(f"{prefix}{encoder}", task, dims, encoder)
            for prefix, task in _PREFIXES.items()
            for dims, encoders in ((2, ENCODERS_2D), (3, ENCODERS_3D))
            for encoder in encoders
        ),
    )
}


def network_name(name: str) -> NetworkName:
    """What the name of a network says. Raises ConfigError, with the nearest name, if there is no such network."""
    return look_up(NETWORKS, name, "network")


def build_network(
    name: str, *, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.0, seed: int = 0
) -> StagedNetwork:
    """Build a network with initial weights that depend on ``seed`` alone.

    Args:
        name: a key of :data:`NETWORKS`, or ``bundle:`` and the folder of a MONAI bundle whose network is wanted.
        in_channels: input channels.
        out_channels: classes, background included.
        dropout: dropout probability.
        seed: seed of the initial weights; the global random state is left as it was.

    Raises:
        ConfigError: an unknown name, a dropout probability outside [0, 1), or a bundle whose network cannot be built
            without running code from it.
    """
    require_dropout(dropout)
    if name.startswith(BUNDLE_PREFIX):
        folder = Path(name.removeprefix(BUNDLE_PREFIX))
        return bundle_network(folder, in_channels=in_channels, out_channels=out_channels, seed=seed, dropout=dropout)
    row = network_name(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
        return _build(row, in_channels, out_channels, dropout)


def _build(row: NetworkName, in_channels: int, out_channels: int, dropout: float) -> StagedNetwork:
    if row.name == "unet":
        return SmallUNet(in_channels, out_channels, dropout=dropout)
    if row.name == "highres3dnet":
        return HighRes3DNet(in_channels, out_channels, dropout)
    encoder = build_encoder(row.encoder, in_channels)
    if row.task == "classification":
        return TransferClassifier(encoder, out_channels, dropout=dropout)
    if row.name.startswith("dense_"):
        return TransferDense(encoder, out_channels, dropout=dropout)
    return TransferUNet(encoder, out_channels, dropout=dropout)


def select_network(
    network: str | nn.Module, *, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.0, seed: int = 0
) -> nn.Module:
    """Resolve the ``network`` knob of a bundle: a name is built, a network that fits the other settings is passed on.

    A network of this library with other channels or dropout is replaced by a new one of its architecture, with the
    initial weights of ``seed``: select first, load weights after. Any other network is passed on as it is.

    The MONAI command line replaces the id ``network`` by a string (``--network unet``) while MONAI Label needs the same
    id to be a network; this function, as ``network_def``, serves both.

    Args:
        network: a key of :data:`NETWORKS`, or a network.
        in_channels, out_channels, dropout, seed: as for :func:`build_network`.
    """
    if isinstance(network, str):
        return build_network(network, in_channels=in_channels, out_channels=out_channels, dropout=dropout, seed=seed)
    if not isinstance(network, StagedNetwork):
        return network
    if (network.in_channels, network.out_channels, network.dropout) == (in_channels, out_channels, dropout):
        return network
    return build_network(
        network.architecture, in_channels=in_channels, out_channels=out_channels, dropout=dropout, seed=seed
    )
