"""The ``source`` knob: ``scratch``, a registry name, a weights file or a bundle."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_definition import read_network_definition
from medtl_monai.networks.bundle_network import PREFIX as BUNDLE_PREFIX
from medtl_monai.networks.bundle_network import BundleNetwork, bundle_candidate
from medtl_monai.networks.encoders import published_architecture
from medtl_monai.networks.factory import build_network, network_name
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.switch import switch
from medtl_monai.transfer.matching import Candidate, encoder_of, for_encoder, for_same_network, has_published_names
from medtl_monai.transfer.parity import source_parity
from medtl_monai.transfer.recognise import recognise
from medtl_monai.transfer.strategy import build_strategy
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.fetch import obtain
from medtl_monai.weights.licence import Lineage, check_commercial, lineage_of_file, lineage_of_row
from medtl_monai.weights.load import LoadReport, fill_network, match_state
from medtl_monai.weights.read import read_state, read_state_with_hash
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights, pretrained

SCRATCH = "scratch"
_UNET = "unet_"
_TORCHVISION = "torchvision_densenet"  # a rule that leaves the names of other networks as they are
_WEIGHTS_SUFFIXES = {".pt", ".pth", ".safetensors"}
logger = logging.getLogger(__name__)


def is_file_source(source: str) -> bool:
    """Whether a source is meant as a file or a bundle folder: it has a folder or a weights suffix in its name."""
    return Path(source).suffix.lower() in _WEIGHTS_SUFFIXES or len(Path(source).parts) > 1


def bundle_of(path: Path) -> Path | None:
    """The MONAI bundle that a weights file is the model of, or None."""
    folder = path.parent.parent
    return folder if path.parent.name == "models" and (folder / "configs").is_dir() else None


def source_file(source: str) -> Path:
    """The weights file of a file source; a bundle's folder means its ``models/model.pt``."""
    path = Path(source)
    return path / "models" / "model.pt" if (path / "configs").is_dir() else path


def network_for_source(source: str, *, default: str) -> str:
    """Name of the network that a source needs; ``default`` for ``scratch``.

    ``default`` also tells the task and the number of dimensions: an ImageNet ResNet-18 becomes the encoder of
    ``unet_resnet18`` in 2D and, inflated, of ``unet_resnet18_i3d`` in 3D segmentation, of ``classifier_resnet18`` in 2D
    classification.

    Raises:
        WeightsError: an unknown source, or a file whose tensor names belong to no network of this library.
        ConfigError: a 3D source for a 2D network.
    """
    if source == SCRATCH:
        return default
    if is_file_source(source):
        path = source_file(source)
        bundle = bundle_of(path)
        if bundle is not None and not (definition := read_network_definition(bundle)).name:
            _require_dims(definition.arguments.get("spatial_dims"), source, default)
            return f"{BUNDLE_PREFIX}{bundle}"
        return recognise(path, rename(read_state(path), _TORCHVISION), default)
    return _network_for_row(pretrained(source), default)


def _require_dims(dims: object, source: str, default: str) -> None:
    wanted = network_name(default).spatial_dims
    if dims is not None and dims != wanted:
        raise ConfigError(
            f"source {source!r} is a {dims}D network",
            expected=f"a {wanted}D source for network {default!r}",
            got=f"{dims}D weights, which have no {wanted}D form here",
            remedy=f"`medtl weights list --spatial-dims {wanted}` shows the sources that fit",
        )


def _network_for_row(row: PretrainedWeights, default: str) -> str:
    wanted = network_name(default)
    if wanted.encoder and published_architecture(wanted.encoder) == row.architecture:
        return default
    if row.input.spatial_dims > wanted.spatial_dims:
        _require_dims(row.input.spatial_dims, row.name, default)
    if row.architecture == "highres3dnet" and wanted.task == "segmentation":
        return row.architecture
    inflated = "_i3d" if row.input.spatial_dims < wanted.spatial_dims else ""
    prefix = wanted.family if wanted.encoder else "unet"
    return f"{prefix}_{row.architecture}{inflated}"


def network_for(
    source: str,
    *,
    default: str,
    in_channels: int = 1,
    out_channels: int,
    dropout: float = 0.0,
    seed: int = 0,
    strategy: str = "",
) -> StagedNetwork:
    """Build, with initial weights, the network that a source needs (see :func:`network_for_source`).

    With a ``strategy`` whose head is a classical classifier (``features_*``), ``unet_<encoder>`` gives way to
    ``dense_<encoder>``: a decoder is nothing that such a classifier could be.
    """
    name = network_for_source(source, default=default)
    if name.startswith(_UNET) and strategy and build_strategy(strategy).linear_head:
        name = f"dense_{name.removeprefix(_UNET)}"
    return build_network(name, in_channels=in_channels, out_channels=out_channels, dropout=dropout, seed=seed)


def load_source(
    network: StagedNetwork, source: str, commercial: bool = False, check_parity: bool = False
) -> LoadReport | None:
    """Fill ``network`` from ``source``; the report says what went where. ``scratch`` changes nothing and returns None.

    A registry source always leaves the parts around the encoder (or the head of a network without one) at their
    initial values: the task is new. Those of a file are taken over when they fit tensor by tensor and left out
    otherwise; the report tells which.

    Args:
        network: the network to fill.
        source: ``scratch``, a registry name, a weights file, or the folder of a bundle.
        commercial: refuse a source whose licence, or that of a source it was trained from, is not known to allow
            commercial use.
        check_parity: compare the filled network, under the source's own head, with the published network (see
            :func:`medtl_monai.transfer.parity.source_parity`); the report keeps the difference.

    Raises:
        ConfigError: the source belongs to another network, or a switch is neither true nor false.
        WeightsError: the weights are absent, damaged, do not fill the network, or may not be used so.
    """
    for_commerce = switch("commercial", commercial)
    with_parity = switch("check_parity", check_parity)
    if source == SCRATCH:
        return None
    if is_file_source(source):
        report = _load_file(network, source_file(source), for_commerce)
    else:
        report = _load_row(network, pretrained(source), for_commerce, with_parity)
    logger.info("%s", report.table())
    return report


def lineage_of(source: str, sha256: str | None = None) -> tuple[Lineage, ...]:
    """Where the weights of a source come from, oldest first; empty for ``scratch``.

    Args:
        source: as for :func:`load_source`.
        sha256: hash of the file in use, if known; a file with the hash of a registry row is that row's.
    """
    if source == SCRATCH:
        return ()
    if not is_file_source(source):
        return (lineage_of_row(pretrained(source), sha256),)
    row = next((row for row in REGISTRY.values() if sha256 and row.matches(sha256)), None)
    return lineage_of_file(source_file(source)) if row is None else (lineage_of_row(row, sha256),)


def lineage_of_run(source: str, report: LoadReport | None) -> tuple[Lineage, ...]:
    """The lineage of a model that is trained from ``source``, loaded with this report; for bundle configurations."""
    return lineage_of(source, None if report is None else report.sha256)


def _require_architecture(network: StagedNetwork, row: PretrainedWeights) -> None:
    encoder = encoder_of(network)
    own = network.architecture if encoder is None else published_architecture(encoder.architecture)
    if own != row.architecture:
        raise ConfigError(
            f"source {row.name!r} belongs to another network",
            expected=f"--network {row.architecture}" if encoder is None else f"an encoder {row.architecture}",
            got=f"--network {network.architecture}",
            remedy=f"leave `--network` out, or choose `--source {SCRATCH}`",
        )


def _load_row(network: StagedNetwork, row: PretrainedWeights, commercial: bool, check_parity: bool) -> LoadReport:
    check_commercial((lineage_of_row(row),), commercial)  # before anything is downloaded
    _require_architecture(network, row)
    published, sha256 = read_state_with_hash(obtain(row), row.sha256)
    published = rename(published, row.naming)
    encoder = encoder_of(network)
    if encoder is None:
        candidate = Candidate(published, tuple(network.stages[network.head]))
    else:
        candidate = for_encoder(network, encoder, published, row.head)
    report = _fill(network, candidate, row.name, sha256)
    return replace(report, parity=source_parity(network, row, published)) if check_parity else report


def _load_file(network: StagedNetwork, path: Path, commercial: bool) -> LoadReport:
    state, sha256 = read_state_with_hash(path)
    state = rename(state, _TORCHVISION)
    check_commercial(lineage_of(str(path), sha256), commercial)
    encoder = encoder_of(network)
    if isinstance(network, BundleNetwork):
        candidate = Candidate(*bundle_candidate(network, state))
    elif encoder is not None and has_published_names(encoder, state):
        architecture = published_architecture(encoder.architecture)
        heads = {head for row in REGISTRY.values() if row.architecture == architecture for head in row.head}
        candidate = for_encoder(network, encoder, state, sorted(heads))
    else:
        candidate = for_same_network(network, state)
    return _fill(network, candidate, path.name, sha256)


def _fill(network: StagedNetwork, candidate: Candidate, name: str, sha256: str) -> LoadReport:
    report = match_state(
        network,
        candidate.state,
        source=name,
        sha256=sha256,
        new_head=candidate.new_head,
        adapted=candidate.adapted,
    )
    fill_network(network, candidate.state, report)
    return report
