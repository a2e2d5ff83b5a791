"""The ``source`` knob: ``scratch``, a registry name, or a weights file."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.io.hashing import sha256_of
from medtl_monai.networks.factory import NETWORKS, build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.fetch import locate
from medtl_monai.weights.load import LoadReport, fill_network, match_state
from medtl_monai.weights.read import read_state
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights, pretrained

SCRATCH = "scratch"
logger = logging.getLogger(__name__)


def is_file_source(source: str) -> bool:
    """Whether a source is meant as a file: it has a folder or a weights suffix in its name."""
    return Path(source).suffix.lower() in {".pt", ".pth", ".safetensors"} or len(Path(source).parts) > 1


def network_for_source(source: str, *, default: str) -> str:
    """Name of the network that a source needs; ``default`` for ``scratch``.

    Raises:
        WeightsError: an unknown source, or a file whose tensor names belong to no network of this library.
    """
    if source == SCRATCH:
        return default
    if is_file_source(source):
        return _recognise(source, read_state(source))
    return pretrained(source).architecture


def network_for(source: str, *, default: str, out_channels: int, dropout: float = 0.0, seed: int = 0) -> StagedNetwork:
    """Build, with initial weights, the network that a source needs (see :func:`network_for_source`)."""
    name = network_for_source(source, default=default)
    return build_network(name, out_channels=out_channels, dropout=dropout, seed=seed)


def load_source(network: StagedNetwork, source: str) -> LoadReport | None:
    """Fill ``network`` from ``source``; the report says what went where. ``scratch`` changes nothing and returns None.

    A registry source always leaves the network's head at its initial values: the task is new. The head of a file is
    taken over when it fits tensor by tensor and left out otherwise; the report tells which.

    Raises:
        ConfigError: the source belongs to another network.
        WeightsError: the weights are absent, damaged or do not fill the network.
    """
    if source == SCRATCH:
        return None
    report = _load_file(network, Path(source)) if is_file_source(source) else _load_row(network, pretrained(source))
    logger.info("%s", report.table())
    return report


def licence_of(source: str) -> str:
    """Licence of a source, for the record of a run."""
    return REGISTRY[source].licence if source in REGISTRY else "not known to the registry"


def _require_architecture(network: StagedNetwork, row: PretrainedWeights) -> None:
    if network.architecture != row.architecture:
        raise ConfigError(
            f"source {row.name!r} belongs to another network",
            expected=f"--network {row.architecture}",
            got=f"--network {network.architecture}",
            remedy=f"leave `--network` out, or choose `--source {SCRATCH}`",
        )


def _load_row(network: StagedNetwork, row: PretrainedWeights) -> LoadReport:
    _require_architecture(network, row)
    state = rename(read_state(locate(row)), row.naming)
    head = network.stages[network.head]
    report = match_state(network, state, source=row.name, sha256=row.sha256, new_head=head)
    fill_network(network, state, report)
    return report


def _load_file(network: StagedNetwork, path: Path) -> LoadReport:
    state = read_state(path)
    own = network.state_dict()
    head = network.stages[network.head]
    prefixes = tuple(f"{name}." for name in head)
    fits = {n: t.shape for n, t in own.items() if n.startswith(prefixes)} == {
        n: t.shape for n, t in state.items() if n.startswith(prefixes)
    }
    report = match_state(network, state, source=path.name, sha256=sha256_of(path), new_head=() if fits else head)
    fill_network(network, state, report)
    return report


def _recognise(source: str, state: dict[str, torch.Tensor]) -> str:
    shares: dict[str, float] = {}
    for name in NETWORKS:
        own = set(build_network(name).state_dict())
        shares[name] = len(own & set(state)) / len(own | set(state))
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.5:
        raise WeightsError(
            "the tensor names belong to no network of this library",
            path=source,
            expected="a state dict of " + " or ".join(NETWORKS),
            got=", ".join(list(state)[:3]) + ", ...",
            remedy="a published file goes by its registry name after `medtl weights import FILE`: "
            + ", ".join(REGISTRY),
        )
    return best
