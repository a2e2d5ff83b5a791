"""The folder of a new bundle: made beside its place, checked, then moved there in one step."""

from __future__ import annotations

import os
import shlex
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medtl_monai.bundle.compose.json_text import json_text
from medtl_monai.bundle.compose.write import write_configurations
from medtl_monai.bundle.new.card_ends import CardFacts
from medtl_monai.bundle.new.check_bundle import check_bundle
from medtl_monai.bundle.new.commands import Commands, example_image, interpreter, source_options
from medtl_monai.bundle.new.datalist_place import DatalistPlace, place_datalist
from medtl_monai.bundle.new.logging_conf import LOGGING
from medtl_monai.bundle.new.metadata_of_plan import metadata_of_plan
from medtl_monai.bundle.new.model_card import model_card
from medtl_monai.bundle.new.names import require_label_names, require_output
from medtl_monai.bundle.new.recipe_of_plan import recipe_of_plan, require_trainable
from medtl_monai.bundle.planning.data_fingerprint import Fingerprint
from medtl_monai.bundle.planning.inventory import DATALIST_NAME, Inventory
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.errors import OutputError
from medtl_monai.io.atomic import write_json, write_text

LICENSE = """No licence has been chosen for this bundle yet; until then all rights are with its authors.

Replace this text by the licence of your choice. A model that is trained from published weights also falls under the
licence of those weights (see docs/README.md), and possibly under that of the data.
"""


@dataclass(frozen=True)
class NewBundle:
    """A bundle that has been written.

    Attributes:
        folder: where it is.
        place: the datalist and where it is.
        commands: the next commands, with absolute paths, for a terminal anywhere.
    """

    folder: Path
    place: DatalistPlace
    commands: tuple[str, str, str]


def write_bundle(
    plan: Plan, fingerprint: Fingerprint, inventory: Inventory, output: Path, *, commercial: bool = False
) -> NewBundle:
    """Write the bundle of a plan, whole or not at all, and the datalist where there is none.

    Args:
        plan: made from ``fingerprint``.
        fingerprint: of the inventory's cases.
        inventory: of the data.
        output: the bundle's folder; must not exist.
        commercial: whether the commands refuse weights that commercial use is not allowed for.

    Raises:
        ConfigError: the plan cannot be carried out, or the folder's name or place will not do.
        LabelError: names that no configuration can hold.
        DataError: a case does not pass the new bundle's transforms.
        OutputError: it cannot be written.
    """
    output = output.absolute()
    require_trainable(plan)
    require_output(output, plan.task)
    require_label_names(fingerprint.names)
    place = place_datalist(inventory, plan.split.value)
    temporary = output.with_name(f".{uuid.uuid4().hex[:12]}-{output.name}")
    commands = _commands(plan, inventory, place, output, commercial)
    done = False
    try:
        _as_output(output, lambda: temporary.mkdir())
        _fill(
            temporary, plan, fingerprint, inventory, place, replace(commands, python="python", data='"$DATA"'), output
        )
        check_bundle(temporary, plan, inventory)
        _as_output(output, lambda: os.rename(temporary, output))
        done = True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if place.written is not None and not done:
            place.written.unlink(missing_ok=True)
    go = f"cd {shlex.quote(str(output))} && "
    return NewBundle(output, place, (go + commands.train(), go + commands.evaluate(), go + commands.predict()))


def _as_output(path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        remedy = "choose another --output"
        raise OutputError("cannot write the bundle", path=path, got=error.strerror, remedy=remedy) from error


def _commands(plan: Plan, inventory: Inventory, place: DatalistPlace, output: Path, commercial: bool) -> Commands:
    data = inventory.folder.absolute()
    elsewhere = "" if place.in_data else f" --datalist {DATALIST_NAME}"
    return Commands(
        python=interpreter(),
        data=shlex.quote(str(data)),
        image=shlex.quote(str(data / example_image(place.made.splits))),
        source=source_options(plan, commercial=commercial),
        datalist=elsewhere,
    )


def _fill(
    folder: Path,
    plan: Plan,
    fingerprint: Fingerprint,
    inventory: Inventory,
    place: DatalistPlace,
    commands: Commands,
    output: Path,
) -> None:
    recipe = recipe_of_plan(plan, place.knob)
    write_configurations(recipe, folder)
    write_text(folder / "configs" / "metadata.json", json_text(metadata_of_plan(plan, recipe, inventory)))
    write_text(folder / "configs" / "logging.conf", LOGGING)
    write_text(folder / "LICENSE", LICENSE)
    if not place.in_data:
        place.made.save(folder / DATALIST_NAME)
    docs = folder / "docs"
    docs.mkdir()
    plan.save(docs / "plan.json")
    write_json(docs / "data_fingerprint.json", fingerprint.as_dict())
    image = f'"$DATA"/{shlex.quote(example_image(place.made.splits))}'
    data = shlex.quote(str(inventory.folder.absolute()))
    facts = CardFacts(plan, fingerprint, place, replace(commands, image=image), data, output.name)
    write_text(docs / "README.md", model_card(facts))
