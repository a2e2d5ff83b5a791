"""What is known of the sources that a plan may choose from: the one place where a plan's facts come from the disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from medtl_monai.errors import MedTLError, WeightsError
from medtl_monai.transfer.source import SCRATCH, is_file_source, lineage_of, network_for_source, source_file
from medtl_monai.weights.fetch import find_local, is_offline, verify
from medtl_monai.weights.registry import REGISTRY, pretrained
from medtl_monai.weights.row import PretrainedWeights

# The network where nothing is transferred, by task and number of axes; sources take their encoder's name from it.
FROM_SCRATCH = {
    ("segmentation", 3): "unet",
    ("segmentation", 2): "unet_resnet18",
    ("classification", 3): "classifier_resnet18_i3d",
    ("classification", 2): "classifier_resnet18",
}


@dataclass(frozen=True)
class SourceFacts:
    """One source.

    Attributes:
        name: as ``--source`` takes it.
        spatial_dims: of its own data; 0 where nobody says (files and bundles).
        training_data: which data, in words.
        parameters: how many.
        licence: of it and of its ancestors, in words.
        commercial: whether commercial use is known to be allowed.
        local: whether its file is on this machine, whole and unchanged.
        absent: why it is not, and what to do about it; empty where it is.
        may_download: whether a run would fetch it by itself.
        networks: the network that it needs, by number of axes.
        misfits: why it has no network, by number of axes.
    """

    name: str
    spatial_dims: int
    training_data: str
    parameters: int
    licence: str
    commercial: bool
    local: bool
    absent: str = ""
    may_download: bool = False
    networks: dict[int, str] = field(default_factory=dict)
    misfits: dict[int, str] = field(default_factory=dict)


def find_sources(task: str, source: str = "auto") -> tuple[SourceFacts, ...]:
    """Facts of one source, or for ``"auto"`` of every row of the registry; none for ``"scratch"``.

    Files that are on this machine are hashed: one that is damaged counts as absent. Nothing is downloaded.

    Args:
        task: ``"segmentation"`` or ``"classification"``.
        source: ``"auto"``, ``"scratch"``, a registry name, a weights file or a bundle.

    Raises:
        WeightsError: a name that is in no registry.
    """
    if source == SCRATCH:
        return ()
    names: Iterable[str] = REGISTRY if source == "auto" else (source,)
    return tuple(_file(name, task) if is_file_source(name) else _row(pretrained(name), task) for name in names)


def _row(row: PretrainedWeights, task: str) -> SourceFacts:
    absent = _absence(row)
    networks, misfits = _networks(row.name, task)
    return SourceFacts(
        name=row.name,
        spatial_dims=row.input.spatial_dims,
        training_data=row.training_data,
        parameters=row.parameters,
        licence=row.licence,
        commercial=row.commercial_use,
        local=not absent,
        absent=absent,
        may_download=not row.converted and not is_offline(),
        networks=networks,
        misfits=misfits,
    )


def _absence(row: PretrainedWeights) -> str:
    path = find_local(row)
    if path is None:
        return f"not on this machine: `medtl weights {'import FILE' if row.converted else f'fetch {row.name}'}`"
    try:
        verify(row, path)
    except WeightsError as error:
        return f"{error.problem}; {error.remedy}"
    return ""


def _file(name: str, task: str) -> SourceFacts:
    there = source_file(name).is_file()
    networks, misfits = _networks(name, task) if there else ({}, {2: "no such file", 3: "no such file"})
    lineage = lineage_of(name) if there else ()
    return SourceFacts(
        name=name,
        spatial_dims=0,
        training_data="; ".join(entry.training_data for entry in lineage if entry.training_data),
        parameters=0,
        licence=" + ".join(dict.fromkeys(entry.licence or "unknown" for entry in lineage)) or "its own",
        commercial=all(entry.commercial for entry in lineage),
        local=there,
        absent="" if there else "no such file",
        networks=networks,
        misfits=misfits,
    )


def _networks(name: str, task: str) -> tuple[dict[int, str], dict[int, str]]:
    networks, misfits = {}, {}
    for dims in (2, 3):
        try:
            networks[dims] = network_for_source(name, default=FROM_SCRATCH[task, dims])
        except MedTLError as error:
            misfits[dims] = f"{error.problem}; got {error.got}" if error.got else error.problem
    return networks, misfits
