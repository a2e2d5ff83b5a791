"""The settings of a study, kept in ``study.json``, and the rule that they do not change while it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from medtl_monai.errors import ConfigError
from medtl_monai.io.atomic import write_json

FORMAT = "medtl-study-1"
STUDY = "study.json"
_LISTS = ("sources", "strategies", "labelled", "rates")
_PLACES = ("bundle", "data", "datalist")


@dataclass(frozen=True)
class Design:
    """What is compared, and how each run is made.

    Attributes:
        bundle: bundle folder.
        data: dataset folder.
        datalist: datalist file, ``{seed}`` in it stands for the seed; empty for the one of the dataset folder.
        sources, strategies: every pair is an arm; scratch is always another one.
        labelled: numbers of labelled training cases, ascending.
        seeds: seeds of the comparison are 0 to seeds - 1.
        rates: learning rates of the sweep that each arm gets at each n.
        epochs: epochs of each run.
        settings: further settings of the bundle, the same for all runs.
        converged: how many times the epochs the converged scratch gets; 0 for no such runs.
        converged_seeds: its seeds are 0 to converged_seeds - 1.
        metric: a metric of the bundle's evaluator; empty for its key metric.
        better: whether a higher or a lower score is better.
    """

    bundle: str
    data: str
    datalist: str
    sources: tuple[str, ...]
    strategies: tuple[str, ...]
    labelled: tuple[int, ...]
    seeds: int
    rates: tuple[float, ...]
    epochs: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    converged: float = 10.0
    converged_seeds: int = 3
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"

    def __post_init__(self) -> None:
        problems = [*_list_problems(self), *_number_problems(self)]
        if problems:
            raise ConfigError("the study makes no sense: " + "; ".join(problems))

    @property
    def converged_epochs(self) -> int:
        """Epochs of the converged scratch."""
        return round(self.converged * self.epochs)

    def datalist_of(self, seed: int) -> Path:
        """The datalist file of a seed."""
        name = self.datalist or str(Path(self.data) / "datalist.json")
        return Path(name.replace("{seed}", str(seed)))

    @property
    def splits_differ(self) -> bool:
        """Whether each seed has its own split."""
        return "{seed}" in self.datalist


def _list_problems(design: Design) -> list[str]:
    problems = [f"{name} is empty" for name in _LISTS if not getattr(design, name)]
    for name in _LISTS:
        values = getattr(design, name)
        if len(set(values)) < len(values):
            problems.append(f"{name} has a value twice: {list(values)}")
    for name in ("sources", "strategies"):
        if "scratch" in getattr(design, name):
            problems.append(f"scratch is always compared with; leave it out of {name}")
    return problems


def _number_problems(design: Design) -> list[str]:
    checks = {
        "labelled: at least 1 case each": all(n >= 1 for n in design.labelled),
        "rates: positive numbers": all(rate > 0 for rate in design.rates),
        "seeds: 1 to 9999": 1 <= design.seeds < 10_000,
        "epochs: at least 1": design.epochs >= 1,
        "converged: above 1, or 0 for none": design.converged == 0 or design.converged > 1,
        "converged-seeds: 0 to the number of seeds": 0 <= design.converged_seeds <= design.seeds,
        "better: higher or lower": design.better in ("higher", "lower"),
    }
    return [name for name, fine in checks.items() if not fine]


def fingerprints(design: Design, config: Path) -> dict[str, str]:
    """SHA-256 of the bundle's training configuration and of the datalists of all seeds. Raises ConfigError."""
    from medtl_monai.study.cells import TUNING_SEED

    seeds = (TUNING_SEED, *range(design.seeds)) if design.splits_differ else (0,)
    lists = {f"datalist {seed}" if design.splits_differ else "datalist": design.datalist_of(seed) for seed in seeds}
    files = {"bundle configuration": config, **lists}
    absent = [str(path) for path in files.values() if not path.is_file()]
    if absent:
        raise ConfigError(
            "files of the study are absent: " + ", ".join(absent),
            remedy="make a datalist with: medtl datalist DIR [--seed SEED --output FILE]",
        )
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def save_design(folder: Path, design: Design, prints: Mapping[str, str], changed: list[dict[str, str]]) -> None:
    """Write ``study.json``. Places are kept by their last name: a study may go on elsewhere. Raises OutputError."""
    kept = asdict(design) | {name: Path(getattr(design, name)).name for name in _PLACES}
    write_json(folder / STUDY, {"format": FORMAT, "design": kept, "sha256": dict(prints), "changed": changed})


def load_design(folder: Path) -> tuple[Design, dict[str, str], list[dict[str, str]]]:
    """Design, fingerprints and recorded changes of the bundle. Raises ConfigError if there is no study."""
    path = folder / STUDY
    if not path.is_file():
        raise ConfigError("no study in this folder", path=path)
    try:
        content = json.loads(path.read_text())
        known = {entry.name for entry in fields(Design)}
        design: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content["design"].items()
        }
        if content["format"] != FORMAT or set(design) != known:
            raise ConfigError("not a study of this version", path=path, expected=FORMAT, got=content["format"])
        return Design(**design), content["sha256"], content["changed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("the settings of the study cannot be read", path=path, got=error) from error


def differences(old: Design, new: Design) -> list[str]:
    """Why the new settings do not go on with the old ones; more seeds, arms, levels and rates do."""
    found = []
    for entry in fields(Design):
        name, before, after = entry.name, getattr(old, entry.name), getattr(new, entry.name)
        if name in _LISTS:
            lost = [value for value in before if value not in after]
            if lost:
                found.append(f"{name} no longer has {', '.join(map(str, lost))}")
        elif name in ("seeds", "converged_seeds"):
            if after < before:
                found.append(f"{name} {after} instead of {before}")
        elif name in _PLACES:
            if Path(before).name != Path(after).name:
                found.append(f"{name} {Path(after).name!r} instead of {Path(before).name!r}")
        elif before != after and not (name == "converged" and before == 0):
            found.append(f"{name} {after!r} instead of {before!r}")
    return found


def print_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Names of the files whose content is not what it was."""
    return [name for name in old if name in new and old[name] != new[name]]
