"""The network of any MONAI bundle, such as one from the model zoo, with the classes of a new task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn.modules.dropout import _DropoutNd

from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_class import monai_class
from medtl_monai.networks.bundle_definition import NetworkDefinition, expected_intensity, read_network_definition
from medtl_monai.networks.bundle_stages import head_modules, stages_of
from medtl_monai.networks.staged import StagedNetwork, require_dropout, set_dropout

PREFIX = "bundle:"  # in front of the bundle's folder, in the name of an architecture
_NET = "net."


class BundleNetwork(StagedNetwork):
    """The MONAI network that a bundle describes, with the task's own number of classes.

    Input ``(B, in_channels, H, W[, D])`` of a size that the network takes; output: what MONAI's class returns, logits
    ``(B, out_channels[, H, W[, D]])``. The tensors have MONAI's names with ``net.`` in front. Stages: the network's
    children in the order in which it registers them, then the head: the modules whose tensors depend on the number of
    classes. A network nested in itself (MONAI's UNet) has the two stages ``body`` and ``head``.

    Attributes ``intensity`` and ``orientation`` are a guess: ``"unit"`` where the bundle's metadata says that images
    are in [0, 1], else ``"zscore"``, and RAS. What the weights were really trained on is the bundle's own preprocessing
    (spacing, window, orientation); read it under ``preprocessing`` in its ``configs/inference.json`` and repeat it.

    Frozen stages are in evaluation mode as a whole: MONAI's stochastic depth, too, stands still then.

    Args:
        bundle: the bundle's folder.
        in_channels: input channels.
        out_channels: classes, background included.
        dropout: probability of all dropout layers, in place of the bundle's own.

    Raises:
        ConfigError: the bundle's network is one of this library, is refused or unknown, cannot be built, has no head,
            or has no dropout layer while ``dropout`` is not 0.
    """

    def __init__(self, bundle: str | Path, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        require_dropout(dropout)
        definition = read_network_definition(bundle)
        _require_monai(definition)
        network = monai_class(definition, in_channels, dropout)
        heads = head_modules(network, out_channels)
        self.architecture = f"{PREFIX}{bundle}"
        self.in_channels, self.out_channels, self.spatial_dims = in_channels, out_channels, network.spatial_dims
        self.intensity = expected_intensity(bundle)
        self.net = network.build(out_channels)
        self.stages = stages_of(self.net, heads, _NET)
        set_dropout(self, dropout)
        if dropout and not any(isinstance(layer, _DropoutNd) for layer in self.modules()):
            raise ConfigError(
                "the bundle's network has no dropout layer", path=definition.path, expected="dropout 0", got=dropout
            )

    def stage_of(self, parameter_name: str) -> str:
        """As in the base class; a tensor that MONAI registers under two names is in one stage under both."""
        tensors = self.state_dict(keep_vars=True)
        if parameter_name in tensors:
            same = tensors[parameter_name]
            parameter_name = next(name for name, tensor in tensors.items() if tensor is same)
        return super().stage_of(parameter_name)

    def train(self, mode: bool = True) -> BundleNetwork:
        """Set training mode everywhere except in frozen stages."""
        super().train(mode)
        for stage in self.frozen_stages:
            for module in self.stage_modules(stage):
                module.eval()
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels[, H, W[, D]])`` for an image ``(B, in_channels, H, W[, D])``."""
        return self.net(image)


def bundle_network(
    bundle: str | Path, *, in_channels: int, out_channels: int, seed: int, dropout: float = 0.0
) -> StagedNetwork:
    """Build a bundle's network with initial weights that depend on ``seed`` alone.

    Args:
        bundle: the bundle's folder.
        in_channels, out_channels, dropout: as for :class:`BundleNetwork`.
        seed: seed of the initial weights; the global random state is left as it was.

    Raises:
        ConfigError: as for :class:`BundleNetwork`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the accelerators too
        return BundleNetwork(bundle, in_channels, out_channels, dropout)


def bundle_candidate(
    network: BundleNetwork, state: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """A bundle's tensors under the names of its network here, and the new head for ``match_state``.

    Args:
        network: the network to fill.
        state: tensors of the bundle's ``model.pt``, or of a trained :class:`BundleNetwork` (``net.`` in front).

    Returns:
        The state, and the modules that the task trains anew: none where the head fits tensor by tensor.
    """
    own = network.state_dict()
    plain = {f"{_NET}{name}": tensor for name, tensor in state.items()}
    renamed = plain if len(plain.keys() & own.keys()) >= len(state.keys() & own.keys()) else dict(state)
    heads = tuple(network.stages[network.head])
    prefixes = tuple(f"{name}." for name in heads)
    shapes, other = (
        {name: tensor.shape for name, tensor in tensors.items() if name.startswith(prefixes)}
        for tensors in (own, renamed)
    )
    return renamed, () if shapes == other else heads


def _require_monai(definition: NetworkDefinition) -> None:
    if definition.name:
        raise ConfigError(
            "the bundle's network is one of this library",
            path=definition.path,
            expected="a MONAI network",
            got=definition.name,
            remedy=f"`--network {definition.name}`",
        )
