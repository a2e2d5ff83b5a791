"""The second half of a model card: further commands, weights and licence, limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medtl_monai.bundle.new.commands import Commands
from medtl_monai.bundle.new.datalist_place import DatalistPlace
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.transfer.source import SCRATCH, lineage_of


@dataclass(frozen=True)
class CardFacts:
    """What a model card is written from.

    Attributes:
        plan, fingerprint, place: as made.
        commands: with the shell variable ``$DATA`` for the dataset folder.
        data: the dataset folder, quoted for a shell.
        bundle: name of the bundle's folder.
    """

    plan: Plan
    fingerprint: Fingerprint
    place: DatalistPlace
    commands: Commands
    data: str
    bundle: str


def further(facts: CardFacts) -> list[str]:
    """Other commands that work with the bundle."""
    do, plan = facts.commands, facts.plan
    lines = [
        "medtl lint . --profile strict",
        "medtl doctor .",
        f"medtl rank --data {do.data} --task {plan.task}{do.datalist}",
    ]
    if plan.source.value != SCRATCH:
        options = do.source.split(" --strategy ")[0].replace(" --source ", " --sources ")
        lines.append(
            f"medtl study --bundle . --data {do.data}{do.datalist}{options} --strategies {plan.strategy.value} "
            f"--labelled {_labelled(facts)} --seeds 5 --output ../study"
        )
    return [
        "## Going further",
        "",
        *block(lines),
        "",
        "`lint` judges the settings without running them; `doctor` runs everything that MONAI's tools expect of a "
        "bundle, on small synthetic images; `rank` compares sources of weights on these data"
        + (
            "; `study` measures, over seeds and numbers of labelled cases, whether the transfer beats random weights."
            if len(lines) > 3
            else "."
        ),
        "",
    ]


def _labelled(facts: CardFacts) -> str:
    """Two numbers of labelled cases that a study can draw, one case per class at least."""
    training = len(facts.place.made.splits["training"])
    least = max(4, len(facts.plan.labels.value["values"]) if facts.plan.task == "classification" else 0)
    found = [str(number) for number in (least, 4 * least) if number <= training]
    return ",".join(found) or str(training)


def weights(facts: CardFacts) -> list[str]:
    """Where the weights come from, and what that means for the model's licence."""
    rows = lineage_of(facts.plan.source.value)
    if not rows:
        return ["## Weights and licence", "", "No published weights are used. Choose a licence: `LICENSE`.", ""]
    found = [
        f"- `{row.source}`: licence {row.licence or 'unknown'}, commercial use "
        f"{'allowed' if row.commercial else 'not known to be allowed'}"
        f"{f'; trained on {row.training_data}' if row.training_data else ''}"
        f"{f'. {row.citation}' if row.citation else ''}"
        for row in rows
    ]
    return [
        "## Weights and licence",
        "",
        "A model that is trained from these weights also falls under their licence; training records them in "
        "`models/model.pt.lineage.json` and in the metadata.",
        "",
        *found,
        "",
    ]


def limits(facts: CardFacts) -> list[str]:
    """What is not known of the model, and what it cannot do."""
    read, cases = len(facts.fingerprint.read), facts.fingerprint.cases
    own = ["Patches", "a structure larger than a patch is seen in parts."]
    if facts.plan.task == "classification":
        own = ["Whole images", "they are resized, so findings of a few voxels may vanish."]
    lines = [
        f"The settings rest on {read} of {cases} cases and on rules of thumb; nothing was trained to find them. "
        "`medtl study --rates` compares learning rates.",
        f"{own[0]}: {own[1]}",
        *_gaps(facts.plan),
        "Other scanners, protocols, ages or diseases than in these data are untested; the model does not notice them.",
        "Performance is unknown until it has been evaluated on test cases; write the numbers down here.",
        "`authors`, `copyright`, `data_source` and `organ` in `configs/metadata.json` are for you to fill in.",
    ]
    return ["## Limits", "", *(f"- {line}" for line in lines), ""]


def _gaps(plan: Plan) -> list[str]:
    values = plan.labels.value["values"]
    if plan.task != "segmentation" or values == list(range(len(values))):
        return []
    some = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
    return [
        f"Masks of the command line hold the values of your labels ({some}); "
        "those of MONAI Label, 3D Slicer and MONAI Deploy are numbered 1, 2, 3, ... in the order of the names."
    ]


def block(lines: Iterable[str]) -> list[str]:
    """Lines to be typed."""
    return ["```", *lines, "```"]
