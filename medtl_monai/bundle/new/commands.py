"""The command lines that work with a new bundle."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.data.datalist import SPLITS
from medtl_monai.transfer.source import SCRATCH, is_file_source

_RUN = "-m monai.bundle run --config_file"
_ANY_SPLIT = (SPLITS[2], *SPLITS[:2])


@dataclass(frozen=True)
class Commands:
    """What to write for the parts of a command that differ from user to user.

    Attributes:
        python: the interpreter.
        data: the dataset folder.
        image: an image to predict.
        source: options that choose source and strategy, or empty.
        datalist: option for commands other than the bundle's own, where the datalist is not in the dataset folder.
    """

    python: str
    data: str
    image: str
    source: str
    datalist: str = ""

    def train(self) -> str:
        """Train, from the planned source."""
        return f"{self.python} {_RUN} configs/train.json --dataset_dir {self.data}{self.source}"

    def evaluate(self) -> str:
        """Judge the trained model on the test cases."""
        configs = "\"['configs/train.json','configs/evaluate.json']\""
        return f"{self.python} {_RUN} {configs} --dataset_dir {self.data}"

    def predict(self) -> str:
        """Predict one image."""
        return f"{self.python} {_RUN} configs/inference.json --dataset_dir {self.image}"


def source_options(plan: Plan, *, commercial: bool) -> str:
    """Options of a training that starts from the planned source: words that follow others, or nothing."""
    if plan.source.value == SCRATCH:
        return ""
    source = plan.source.value
    place = str(Path(source).absolute()) if is_file_source(source) else source
    return (
        f" --source {shlex.quote(place)} --strategy {plan.strategy.value}{' --commercial True' if commercial else ''}"
    )


def interpreter() -> str:
    """``python`` where that is one of the environment that runs now, else the path of the one that runs."""
    found = shutil.which("python")
    same = found is not None and Path(found).parent.absolute() == Path(sys.executable).parent.absolute()
    return "python" if same else shlex.quote(sys.executable)


def example_image(splits: Mapping[str, tuple[object, ...]]) -> str:
    """Path, relative to the dataset folder, of an image to try a prediction on: a test image if there is one."""
    for split in _ANY_SPLIT:
        for case in splits[split]:
            return str(getattr(case, "image", ""))
    return ""
