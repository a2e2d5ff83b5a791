"""What can be known to be wrong before the first run, all of it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtl_monai.data.any_datalist import load_datalist
from medtl_monai.errors import ConfigError, MedTLError
from medtl_monai.study.cells import TUNING_SEED
from medtl_monai.study.design import Design
from medtl_monai.transfer.source import is_file_source, network_for_source, source_file
from medtl_monai.transfer.strategy import build_strategy
from medtl_monai.weights.registry import pretrained

SPLIT = "validate#dataset#data#split"
_BY_SOURCE = "medtl_monai.transfer.source.network_for"
# What the study sets in every run; a bundle without one of them would pass over it in silence.
KNOBS = (
    "bundle_root", "dataset_dir", "datalist", "output_dir", "source", "strategy", "labelled", "seed", "learning_rate",
    "epochs", "val_interval", "val_at_start", SPLIT,
)  # fmt: skip


def training_config(bundle: Path) -> Path:
    """The bundle's ``configs/train.json``. Raises ConfigError if there is none."""
    path = bundle / "configs" / "train.json"
    if not path.is_file():
        raise ConfigError("not a bundle that can be trained", path=bundle, expected="configs/train.json")
    return path


def read_config(path: Path) -> dict[str, Any]:
    """Content of a configuration file. Raises ConfigError if it is no JSON object."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError("the bundle's configuration is no JSON", path=path, got=error) from error
    if not isinstance(content, dict):
        raise ConfigError("the bundle's configuration is no JSON object", path=path, got=type(content).__name__)
    return content


def check(design: Design, config: Mapping[str, Any]) -> None:
    """Raise ConfigError that names every problem: knobs, strategies, sources, and cases that are too few."""
    problems = [
        *(f"the bundle has no setting {name!r}" for name in KNOBS if not has_knob(config, name)),
        *(f"the bundle has no setting {name!r}" for name in design.settings if not has_knob(config, name)),
        *(f"{name!r} is set by the study itself" for name in design.settings if name in KNOBS),
        *_name_problems(design),
        *_case_problems(design),
    ]
    if problems:
        raise ConfigError("the study cannot run: " + "; ".join(problems))


def cautions(design: Design, config: Mapping[str, Any]) -> list[str]:
    """Sources that bring another network than scratch would have; their difference mixes network and weights."""
    entry = config.get("network")
    if "network" in design.settings or not isinstance(entry, Mapping) or entry.get("_target_") != _BY_SOURCE:
        return []
    default = str(entry.get("default"))
    needed = {source: network_for_source(source, default=default) for source in design.sources}
    return [
        f"Caution: {source} is a {name}, scratch will be a {default}; --set network={name} makes them the same."
        for source, name in needed.items()
        if name != default
    ]


def has_knob(config: Mapping[str, Any], name: str) -> bool:
    """Whether a configuration has an entry ``a#b#c`` or ``a::b::c``."""
    place: Any = config
    for part in name.replace("::", "#").split("#"):
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, Mapping) and part in place:
            place = place[part]
        else:
            return False
    return True


def _name_problems(design: Design) -> list[str]:
    problems = []
    for strategy in design.strategies:
        try:
            build_strategy(strategy)
        except MedTLError as error:
            problems.append(str(error))
    for source in design.sources:
        try:
            _check_source(source)
        except MedTLError as error:
            problems.append(str(error))
    return problems


def _check_source(source: str) -> None:
    if not is_file_source(source):
        pretrained(source)
    elif not source_file(source).is_file():
        raise ConfigError("no such source", path=source_file(source))


def _case_problems(design: Design) -> list[str]:
    problems = []
    for seed in (TUNING_SEED, *range(design.seeds)) if design.splits_differ else (0,):
        path = design.datalist_of(seed)
        splits = load_datalist(path).splits
        if len(splits["training"]) < max(design.labelled):
            problems.append(f"{path} has {len(splits['training'])} training cases, fewer than {max(design.labelled)}")
        problems += [f"{path} has no {name} cases" for name in ("validation", "test") if not splits[name]]
    return problems
