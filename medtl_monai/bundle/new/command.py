"""``medtl new`` on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from medtl_monai.bundle.new.all_cases import require_all_cases
from medtl_monai.bundle.new.found_words import found_lines, shown
from medtl_monai.bundle.new.model_card import MEANINGS, decisions
from medtl_monai.bundle.new.names import require_bundle_name, require_output
from medtl_monai.bundle.new.recipe_of_plan import require_trainable
from medtl_monai.bundle.new.write_bundle import NewBundle, write_bundle
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint, take_fingerprint
from medtl_monai.bundle.planning.inventory import Inventory, take_inventory
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import Plan, make_plan
from medtl_monai.bundle.planning.source_facts import find_sources
from medtl_monai.data.commands import label_names
from medtl_monai.errors import ConfigError

_WIDTH = 110


def run_new(options: argparse.Namespace) -> str:
    """Write the bundle, and return what to show: what was found, what was decided and why, what to type next.

    Raises:
        MedTLError: the data, the options or the places do not allow it; nothing is written then.
    """
    output = options.output or Path(options.name)
    require_bundle_name(options.name, options.task)
    require_output(output.absolute(), options.task)
    background = {0: "background"} if options.task == "segmentation" else {}
    inventory = take_inventory(
        options.data,
        options.task,
        csv=options.csv or "",
        names=label_names(options.labels, background),
        patient_pattern=options.patient_pattern,
    )
    _require_used(options, inventory)
    fingerprint = take_fingerprint(inventory)
    chosen = PlanOptions(
        name=options.name,
        modality=options.modality,
        source=options.source,
        sources=find_sources(options.task, options.source),
        memory_gb=options.memory_gb,
        commercial=options.commercial,
        steps=options.steps,
    )
    plan = make_plan(fingerprint, chosen)
    require_trainable(plan)
    require_all_cases(inventory, fingerprint, plan.colour.value)
    made = write_bundle(plan, fingerprint, inventory, output, commercial=options.commercial)
    return told(plan, fingerprint, made)


def _require_used(options: argparse.Namespace, inventory: Inventory) -> None:
    """Refuse options that a datalist overrules: it says itself what the labels are called and who the patients are."""
    stated = {"--labels": options.labels, "--csv": options.csv, "--patient-pattern": options.patient_pattern}
    idle = [name for name, value in stated.items() if value]
    if inventory.given is not None and idle:
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: these data have a datalist, which says it already",
            path=inventory.folder,
            got=inventory.layout,
            remedy="leave the option out, change the datalist, or move it away to have a new one made",
        )


def told(plan: Plan, fingerprint: Fingerprint, made: NewBundle) -> str:
    """The text that a user sees."""
    splits = ", ".join(f"{len(cases)} {split}" for split, cases in made.place.made.splits.items())
    names = ("Train", "Evaluate on the test cases", "Predict one image")
    steps = [
        f"{n}. {name}:\n\n     {line}\n" for n, (name, line) in enumerate(zip(names, made.commands, strict=True), 1)
    ]
    return "\n".join(
        [
            "Found",
            *(f"  {line}" for line in found_lines(fingerprint, plan)),
            f"  Split: {splits}; datalist.json is {made.place.why}.",
            *(f"  Note: {note}" for note in plan.notes),
            "",
            "Decided (in full: docs/README.md)",
            *_table(plan),
            "",
            f"Written: {made.folder}",
            "",
            "Next",
            "",
            *steps,
        ]
    )


def _table(plan: Plan) -> list[str]:
    lines = []
    for name, choice in decisions(plan).items():
        value = shown(name, choice.value)
        lines.append(f"  {MEANINGS.get(name, name)}: {_short(value, 60)}")
        lines.append(f"      {_short(choice.reason, _WIDTH)}")
    return lines


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."
