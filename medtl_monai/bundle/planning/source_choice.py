"""Which weights to start from, by rule."""

from __future__ import annotations

from collections.abc import Sequence

from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.options import AUTO, PlanOptions
from medtl_monai.bundle.planning.source_facts import FROM_SCRATCH, SourceFacts
from medtl_monai.bundle.planning.words import brain_words
from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.transfer.source import SCRATCH

# Earlier is better within a rank; the others follow by size, the smallest first.
_PREFERRED = (
    "medicalnet_resnet18_23datasets", "medicalnet_resnet10_23datasets", "medicalnet_resnet34_23datasets",
    "medicalnet_resnet50_23datasets", "imagenet_resnet18", "imagenet_resnet34", "imagenet_resnet50_v2",
)  # fmt: skip
_MODALITY_WORDS = {"ct": "CT", "mri": "MR"}
_INFLATED = "README: inflated SqueezeNet raised the AUC on adrenal shapes by 0.077 [0.021, 0.133]"


def choose_source(task: str, dims: int, modality: str, texts: Sequence[str], options: PlanOptions) -> Choice[str]:
    """The source, with the reason.

    ``auto`` ranks the sources that suit the data: (1) 3D networks trained on the modality, those of the brain first for
    brain and last for anything else; (2) 2D networks for 2D images; (3) 2D networks inflated for 3D classification.
    2D networks are not chosen for 3D segmentation: no gain was measured. Of those the licence allows, the first whose
    file is on this machine is taken; ``scratch`` where none is.

    Args:
        task: ``"segmentation"`` or ``"classification"``.
        dims: axes of the images.
        modality: as recognised.
        texts: name of the bundle and of its labels.
        options: the user's.

    Raises:
        WeightsError: a source that was named is absent or its licence does not allow the use.
        ConfigError: a source that was named belongs to data of other dimensions, or nothing is known of it.
    """
    if options.source == SCRATCH:
        return Choice(SCRATCH, "stated; the network starts from random weights")
    if options.source != AUTO:
        return _named(dims, options)
    brain = brain_words(texts)
    ranked = sorted(
        (row for row in options.sources if _rank(row, task, dims, modality, brain) is not None),
        key=lambda row: (_rank(row, task, dims, modality, brain), _preference(row), row.parameters, row.name),
    )
    allowed = [row for row in ranked if row.commercial or not options.commercial]
    here = [row for row in allowed if row.local]
    counted = f"{len(options.sources)} sources known, {len(ranked)} suit {dims}D {modality} {task}"
    counted += f", {len(allowed)} of these for commercial use" if options.commercial else ""
    if not here:
        why = f"; first would be {allowed[0].name}: {allowed[0].absent}" if allowed else ""
        return Choice(SCRATCH, f"{counted}, none is on this machine, so training starts from random weights{why}")
    best = here[0]
    reason = f"{counted}, {len(here)} on this machine; {best.name} ({best.licence}) was trained on {best.training_data}"
    if best.spatial_dims < dims:
        reason += f"; {_INFLATED}"
    if allowed[0] is not best:
        reason += f"; before it comes {allowed[0].name}, {allowed[0].absent}"
    return Choice(best.name, reason)


def _rank(row: SourceFacts, task: str, dims: int, modality: str, brain: Sequence[str]) -> int | None:
    """Smaller is better; None: does not suit."""
    if dims not in row.networks:
        return None
    if row.spatial_dims == 2:
        return 2 if dims == 2 else 3 if task == "classification" else None
    word = _MODALITY_WORDS.get(modality)
    if word is None or word not in row.training_data.replace(",", " ").split():
        return None
    of_brain = bool(brain_words([row.training_data]))
    if of_brain:
        return 0 if brain else 1 if task == "segmentation" else None
    return 1 if brain else 0


def _preference(row: SourceFacts) -> int:
    return _PREFERRED.index(row.name) if row.name in _PREFERRED else len(_PREFERRED)


def _named(dims: int, options: PlanOptions) -> Choice[str]:
    row = next((row for row in options.sources if row.name == options.source), None)
    if row is None:
        raise ConfigError(
            "nothing is known of this source", got=options.source, remedy="pass find_sources(task, source) as sources"
        )
    if dims not in row.networks:
        raise ConfigError(
            f"source {row.name!r} does not suit {dims}D images", got=row.misfits.get(dims), remedy="--source auto"
        )
    if options.commercial and not row.commercial:
        raise WeightsError(
            f"source {row.name!r} is not cleared for commercial use", got=row.licence, remedy="--source auto"
        )
    if not row.local and not row.may_download:
        raise WeightsError(f"source {row.name!r} is not usable", got=row.absent, remedy="or take --source auto")
    where = "on this machine" if row.local else "downloaded by the first run"
    trained = f", trained on {row.training_data}" if row.training_data else ""
    return Choice(row.name, f"stated; {where}, licence {row.licence}{trained}")


def choose_network(source: str, task: str, dims: int, options: PlanOptions) -> Choice[str]:
    """The network that the source needs; from scratch, the usual one for the task."""
    if source == SCRATCH:
        name = FROM_SCRATCH[task, dims]
        return Choice(name, f"from random weights: the {dims}D network for {task} that needs no source")
    row = next(row for row in options.sources if row.name == source)
    return Choice(row.networks[dims], f"the network that {source} fills, for {dims}D {task}")
