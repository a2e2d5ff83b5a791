"""The plan: every setting of a bundle that the data decide, each with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any

from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.geometry import (
    choose_batch,
    choose_side,
    choose_size,
    choose_spacing,
    median_grid,
    smallest_label_ml,
)
from medtl_monai.bundle.planning.intensity import choose_colour, choose_flips, choose_intensity
from medtl_monai.bundle.planning.network_facts import network_facts
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.problems import data_problems, require_plannable
from medtl_monai.bundle.planning.recognition import choose_dimensions, choose_modality
from medtl_monai.bundle.planning.source_choice import choose_network, choose_source
from medtl_monai.bundle.planning.training import (
    choose_epochs,
    choose_loss,
    choose_rate,
    choose_split,
    choose_strategy,
    training_cases,
)
from medtl_monai.errors import DataError
from medtl_monai.io.atomic import write_json

FORMAT = "medtl-plan/1"
_MOST_IN_BATCH = {("segmentation", 3): 8, ("segmentation", 2): 16, ("classification", 3): 16, ("classification", 2): 32}


@dataclass(frozen=True)
class Plan:
    """Settings of a bundle. Lengths along the axes of ``orientation``; spacing in mm.

    Attributes:
        name, task: of the bundle.
        labels: ``values``: the label values or class numbers; ``network``: the channel of each, numbered without gaps.
        dimensions: 2 or 3.
        modality: ``ct``, ``mri``, ``picture``, ``mask``, or another DICOM Modality in small letters.
        source, network, strategy: knobs of the same names.
        orientation: axes that the network sees, such as ``"RAS"``; empty in 2D.
        spacing: target voxel size; None where images are resized instead (classification) or know none.
        patch_size: of segmentation; None for classification.
        image_size: of classification: pixels of the longer side in 2D, voxels along each axis in 3D; else None.
        batch_size, epochs, cases_per_epoch, learning_rate: knobs of the same names.
        intensity: see `intensity.choose_intensity`.
        colour: knob of the same name.
        flips: axes along which training images may be mirrored.
        split: fractions for `Inventory.datalist`, or ``given``.
        loss: see `training.choose_loss`.
        notes: findings that a user should read, as texts.
    """

    name: str
    task: str
    labels: Choice[dict[str, Any]]
    dimensions: Choice[int]
    modality: Choice[str]
    source: Choice[str]
    network: Choice[str]
    strategy: Choice[str]
    orientation: Choice[str]
    spacing: Choice[list[float] | None]
    patch_size: Choice[list[int] | None]
    image_size: Choice[int | list[int] | None]
    batch_size: Choice[int]
    epochs: Choice[int]
    cases_per_epoch: Choice[int | None]
    learning_rate: Choice[float]
    intensity: Choice[dict[str, Any]]
    colour: Choice[str]
    flips: Choice[list[int]]
    split: Choice[dict[str, Any]]
    loss: Choice[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def choices(self) -> dict[str, Choice[Any]]:
        """The decisions by name, in order."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Choice)}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: ``choices`` maps each name to its value and reason."""
        made = {name: asdict(choice) for name, choice in self.choices().items()}
        return {"format": FORMAT, "name": self.name, "task": self.task, "choices": made, "notes": list(self.notes)}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all. Raises OutputError if it cannot be written."""
        write_json(path, self.as_dict())


@dataclass(frozen=True)
class _Sizes:
    spacing: Choice[list[float] | None]
    patch: Choice[list[int] | None]
    image: Choice[int | list[int] | None]
    input: tuple[int, ...]


def make_plan(fingerprint: Fingerprint, options: PlanOptions) -> Plan:
    """The plan for data of this fingerprint: the same for the same arguments, nothing else is looked at.

    Raises:
        DataError, LabelError, GeometryError: the data cannot be planned for; one error with every case and remedy.
        ConfigError, WeightsError: options that do not suit the data (source, memory).
    """
    dims, about_dims = choose_dimensions(fingerprint)
    modality, about_modality = choose_modality(fingerprint, options)
    require_plannable([*fingerprint.findings, *data_problems(fingerprint), *about_dims, *about_modality])
    if dims is None or modality is None:
        raise DataError("no case could be read", expected="one image at least", got=f"{fingerprint.cases} cases")
    task, texts = fingerprint.task, [options.name, *fingerprint.names.values()]
    source = choose_source(task, dims.value, modality.value, texts, options)
    network = choose_network(source.value, task, dims.value, options)
    facts = network_facts(network.value)
    orientation = facts.orientation if dims.value == 3 else ""
    sizes = _sizes(fingerprint, dims.value, orientation, network.value, options.memory_gb)
    split = choose_split(fingerprint, options)
    training = training_cases(fingerprint, split.value)
    batch = choose_batch(
        sizes.input,
        network.value,
        len(fingerprint.names),
        options.memory_gb,
        training=training,
        most=_MOST_IN_BATCH[task, dims.value],
    )
    epochs, per_epoch = choose_epochs(task, training, batch.value, options)
    return Plan(
        name=options.name,
        task=task,
        labels=_labels(fingerprint),
        dimensions=dims,
        modality=modality,
        source=source,
        network=network,
        strategy=choose_strategy(source.value, training),
        orientation=Choice(orientation, f"what {network.value} was trained on" if orientation else "2D images"),
        spacing=sizes.spacing,
        patch_size=sizes.patch,
        image_size=sizes.image,
        batch_size=batch,
        epochs=epochs,
        cases_per_epoch=per_epoch,
        learning_rate=choose_rate(task, source.value),
        intensity=choose_intensity(fingerprint, modality.value, facts.intensity, options.name),
        colour=choose_colour(fingerprint),
        flips=choose_flips(fingerprint, dims.value, orientation),
        split=split,
        loss=choose_loss(fingerprint),
        notes=tuple(
            f"{finding.case}: {finding.message}" if finding.case else finding.message
            for finding in fingerprint.findings
            if finding.severity == "warning" or finding.case is None
        ),
    )


def _labels(fingerprint: Fingerprint) -> Choice[dict[str, Any]]:
    values = sorted(fingerprint.names)
    channels = {str(value): channel for channel, value in enumerate(values)}
    names = {str(value): fingerprint.names[value] for value in values}
    gaps = values != list(range(len(values)))
    reason = (
        f"{len(values)} values, background included" if fingerprint.task == "segmentation" else f"{len(values)} classes"
    )
    reason += ", with gaps: numbered anew for the network" if gaps else ", numbered without gaps"
    return Choice({"values": values, "names": names, "network": channels}, reason)


def _sizes(fingerprint: Fingerprint, dims: int, orientation: str, network: str, memory_gb: float) -> _Sizes:
    shape, spacing = median_grid(fingerprint, dims, orientation)
    classes = len(fingerprint.names)
    whole = Choice(None, "whole images are resized")
    if fingerprint.task == "classification":
        if dims == 2:
            side = choose_side(shape, network, classes, memory_gb)
            return _Sizes(whole, whole, Choice(side.value, side.reason), (side.value, side.value))
        size = choose_size(shape, network, classes, memory_gb)
        return _Sizes(whole, whole, Choice(size.value, size.reason), tuple(size.value))
    patch = choose_size(shape, network, classes, memory_gb)
    none = Choice(None, "patches of segmentation")
    if spacing is None:
        return _Sizes(
            Choice(None, "pictures know no voxel size"), Choice(patch.value, patch.reason), none, tuple(patch.value)
        )
    target = choose_spacing(shape, spacing, patch.value, smallest_label_ml(fingerprint))
    resampled = [length * old / new for length, old, new in zip(shape, spacing, target.value, strict=True)]
    patch = choose_size(resampled, network, classes, memory_gb)
    return _Sizes(Choice(target.value, target.reason), Choice(patch.value, patch.reason), none, tuple(patch.value))
