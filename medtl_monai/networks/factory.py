"""Networks by name, and the one place where a configuration's ``network`` knob is understood."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.highresnet import HighRes3DNet
from medtl_monai.networks.staged import StagedNetwork, require_dropout
from medtl_monai.networks.unet import SmallUNet

NETWORKS: dict[str, Callable[[int, int, float], StagedNetwork]] = {
    "unet": lambda in_channels, out_channels, dropout: SmallUNet(in_channels, out_channels, dropout=dropout),
    "highres3dnet": lambda in_channels, out_channels, dropout: HighRes3DNet(in_channels, out_channels, dropout),
}


def build_network(
    name: str, *, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.0, seed: int = 0
) -> StagedNetwork:
    """Build a 3D network with initial weights that depend on ``seed`` alone.

    Args:
        name: a key of :data:`NETWORKS`.
        in_channels: input channels.
        out_channels: classes, background included.
        dropout: dropout probability.
        seed: seed of the initial weights; the global random state is left as it was.

    Raises:
        ConfigError: an unknown name, or a dropout probability outside [0, 1).
    """
    if name not in NETWORKS:
        raise ConfigError("unknown network", expected="one of " + ", ".join(NETWORKS), got=name)
    require_dropout(dropout)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
        return NETWORKS[name](in_channels, out_channels, dropout)


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
