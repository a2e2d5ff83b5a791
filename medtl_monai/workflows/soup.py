"""A soup of several trainings of one bundle: their weights, averaged where that helps on the validation cases."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medtl_monai.errors import ConfigError
from medtl_monai.io.atomic import write_text
from medtl_monai.transfer.norm_statistics import reestimate_norm
from medtl_monai.transfer.soup import State, greedy_soup, uniform_soup
from medtl_monai.weights.licence import Lineage, lineage_of_file, record_lineage
from medtl_monai.weights.read import read_state
from medtl_monai.workflows.calibration import Calibration
from medtl_monai.workflows.checkpoint_files import BEST, save_network

RECORD = "soup.json"
_SAME = ("network", "source", "seed")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SoupResult:
    """What was cooked.

    Attributes:
        members: the trainings in the soup.
        metric: name of the validation metric.
        score: the soup's.
        scores: every training's own.
        cases: number of validation cases.
    """

    members: tuple[str, ...]
    metric: str
    score: float
    scores: dict[str, float]
    cases: int


def make_soup(
    bundle: Path, runs: Sequence[Path], data: Path, output: Path, *, datalist: str = "", uniform: bool = False
) -> SoupResult:
    """Average the ``model.pt`` of several trainings of a bundle, and write ``model.pt`` and ``soup.json``.

    Greedy (Wortsman et al. 2022, arXiv:2203.05482): from the best training on, each next best is taken in if the
    average does not get worse on the validation cases; the result is never worse than the best training there. The
    trainings may differ in strategy, learning rate, epochs or augmentation, but share network, source and seed, which
    fixes the initial head. Batch norm statistics of an average are estimated anew on the training images, without
    augmentation.

    Args:
        bundle: the bundle's folder.
        runs: output folders of trainings, each with ``run.json`` and ``model.pt``.
        data: dataset folder.
        output: folder to write to; made if absent.
        datalist: the datalist; by default the dataset folder's.
        uniform: average all trainings, whatever that does to the score.

    Raises:
        ConfigError: fewer than two trainings, two of one name, or trainings that do not belong together.
        WeightsError: a model that cannot be read or is of another network.
    """
    names = [run.resolve().name for run in runs]
    if len(set(names)) < max(2, len(names)):
        raise ConfigError(
            "a soup needs several trainings", expected="two or more folders, each of its own name", got=", ".join(names)
        )
    states = {name: read_state(run / BEST) for name, run in zip(names, runs, strict=True)}
    settings = _common_settings(runs)
    output.mkdir(parents=True, exist_ok=True)
    kitchen = _Kitchen(bundle, settings, data, datalist, output)

    def score(state: State) -> float:
        return kitchen.score(state, averaged=all(state is not own for own in states.values()))

    if uniform:
        state, members = uniform_soup(states), tuple(names)
        scores, reached = {name: score(own) for name, own in states.items()}, score(state)
    else:
        greedy = greedy_soup(states, score)
        state, members, scores, reached = greedy.state, greedy.members, greedy.scores, greedy.score
    result = SoupResult(members, kitchen.metric, reached, scores, kitchen.cases)
    kitchen.fill(state, averaged=len(members) > 1)
    kitchen.save(output / BEST)
    record_lineage(output / BEST, _lineage(run for run in runs if run.resolve().name in members))
    write_text(output / RECORD, json.dumps({**result.__dict__, "settings": settings}, indent=2) + "\n")
    return result


def _common_settings(runs: Sequence[Path]) -> dict[str, Any]:
    """Network, source and seed of all trainings. Raises ConfigError where they differ or are not recorded."""
    found = {run.name: _settings(run) for run in runs}
    first = next(iter(found.values()))
    odd = [f"{name}: {key} {own[key]}" for name, own in found.items() for key in _SAME if own[key] != first[key]]
    if odd:
        raise ConfigError(
            "these trainings do not lie close enough together to be averaged",
            expected=", ".join(f"{key} {first[key]}" for key in _SAME),
            got="; ".join(odd),
            remedy="repeat the training with other rates or strategies, but with one network, source and seed",
        )
    return first


def _settings(run: Path) -> dict[str, Any]:
    path = run / "run.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["config"]["settings"]
        return {key: settings[key] for key in _SAME}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            "no record of a training", path=path, expected="the run.json that a training writes"
        ) from error


def _lineage(runs: Iterator[Path]) -> tuple[Lineage, ...]:
    return tuple(dict.fromkeys(entry for run in runs for entry in lineage_of_file(run / BEST)))


class _Kitchen:
    """The bundle's network, validation and training images, made once."""

    def __init__(self, bundle: Path, settings: Mapping[str, Any], data: Path, datalist: str, output: Path) -> None:
        overrides = {
            "bundle_root": str(bundle),
            "dataset_dir": str(data),
            "datalist": datalist,
            "output_dir": str(output),
            "source": "scratch",
            "network": settings["network"],
            "seed": settings["seed"],
        }
        configs = bundle / "configs"
        workflow = ConfigWorkflow(
            config_file=str(configs / "train.json"),
            meta_file=str(configs / "metadata.json"),
            logging_file=False,
            workflow_type="train",
            **overrides,
        )
        workflow.initialize()
        get: Callable[[str], Any] = workflow.parser.get_parsed_content
        self.network: nn.Module = get("model")
        self.evaluator = get("validate#evaluator")
        self.images = DataLoader(Dataset(get("train#dataset#data"), get("validate#preprocessing")), batch_size=1)
        self.cases = len(get("validate#dataset"))
        if self.cases == 0:
            raise ConfigError("a soup is judged on validation cases", expected="one or more", got=0, path=data)
        self.metric = ""
        self.calibration = (
            get("calibration")
            if "calibration" in workflow.parser
            else Calibration(self.network, self.evaluator, enabled=False)
        )

    def save(self, path: Path) -> None:
        """Write the network as it is, classifiers with a temperature of their own."""
        if self.calibration.enabled:
            self.evaluator.run()
        with self.calibration.applied():
            save_network(self.network, path)
        self.calibration.write(path)

    def fill(self, state: State, *, averaged: bool) -> None:
        """Give the network these weights, and statistics of its own where the weights are an average."""
        self.network.load_state_dict(state)
        if averaged and any(isinstance(layer, _BatchNorm) for layer in self.network.modules()):
            reestimate_norm(self.network, (batch["image"] for batch in self.images))

    def score(self, state: State, *, averaged: bool) -> float:
        """The validation metric of weights."""
        self.fill(state, averaged=averaged)
        self.evaluator.run()
        self.metric = str(self.evaluator.state.key_metric_name)
        return float(self.evaluator.state.metrics[self.metric])
