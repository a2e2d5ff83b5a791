"""A guard against negative transfer: the same training from scratch, and the better of the two is kept."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from ignite.engine import Engine

from medtl_monai.errors import ConfigError, MedTLError
from medtl_monai.io.atomic import atomic_write, write_text
from medtl_monai.switch import switch
from medtl_monai.transfer.source import SCRATCH
from medtl_monai.weights.licence import lineage_of_file, record_lineage, write_lineage
from medtl_monai.weights.read import read_state
from medtl_monai.workflows.calibration import FILE as CALIBRATION
from medtl_monai.workflows.checkpoint_files import BEST, LAST
from medtl_monai.workflows.run_config import config_of_command

SCRATCH_FOLDER, TRANSFERRED, VERDICT = "scratch", "model_transferred.pt", "guard.json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        kept: ``transfer`` or ``scratch``.
        transfer, scratch: best validation metric of each training.
        cases: number of validation cases behind them.
        sentence: the same in words.
    """

    kept: str
    transfer: float
    scratch: float
    cases: int
    sentence: str


def verdict(transfer: float, scratch: float, cases: int) -> Verdict:
    """Compare two validation metrics (higher is better); equal ones keep the transferred model."""
    kept = "transfer" if transfer >= scratch else "scratch"
    difference = transfer - scratch
    if kept == "transfer":
        words = f"the transferred model is kept: {difference:+.4f} against scratch"
    else:
        words = f"negative transfer: the model trained from scratch is kept, the transferred one was {difference:+.4f}"
    sentence = (
        f"{words} (validation {transfer:.4f} and {scratch:.4f}, {cases} cases, one training each: a choice between two "
        "models, no proof of a difference)"
    )
    return Verdict(kept, transfer, scratch, cases, sentence)


def guarded_run(trainer: Engine, guard: bool, source: str, network: str, output_dir: str, ckpt_dir: str) -> None:
    """Run a training, and with ``guard`` the same one from scratch after it; the better of the two is kept.

    Both have the same cases, seed, initial head, order of batches, budget and network; they are compared by their best
    validation metric. The better model becomes ``model.pt``; if that is the one from scratch, the transferred one stays
    as ``model_transferred.pt``. ``guard.json`` says what was compared and kept. The scratch training's own files are in
    the folder ``scratch``.

    Args:
        trainer: MONAI's training engine.
        guard: compare with scratch.
        source: the source of the training; ``scratch`` needs no guard.
        network: name of the network, for the training from scratch.
        output_dir: where ``run.json`` goes.
        ckpt_dir: where ``model.pt`` goes.

    Raises:
        ConfigError: ``guard`` is neither on nor off, or on where the program is not one process of
            ``python -m monai.bundle run``, whose command line it repeats, or where the checkpoints do not go to the
            output folder; nothing has been trained then.
        MedTLError: the training from scratch failed, or a training has no validation metric; the transferred model is
            in place.
    """
    wanted = switch("guard", guard) and source != SCRATCH
    folder = Path(output_dir)
    if wanted:
        _require_repeatable(folder, Path(ckpt_dir))
    trainer.run()
    if wanted:
        _train_scratch(folder, network)
        _keep_better(folder)


def _require_repeatable(folder: Path, ckpt_dir: Path) -> None:
    alone = not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
    if config_of_command(sys.argv) is None or not alone:
        raise ConfigError(
            "the guard repeats the training's command line",
            expected="one process of `python -m monai.bundle run`",
            got=f"{dist.get_world_size()} processes" if not alone else Path(sys.argv[0]).name or "no command line",
            remedy="leave guard off, and train a second time with source scratch",
        )
    if ckpt_dir.resolve() != folder.resolve():
        raise ConfigError(
            "the guard compares the models in the output folder",
            expected="ckpt_dir as the output_dir",
            got=ckpt_dir,
            remedy="leave --ckpt_dir out",
        )


def _train_scratch(output_dir: Path, network: str) -> None:
    folder = output_dir / SCRATCH_FOLDER
    words = [
        *("--source", SCRATCH, "--strategy", SCRATCH, "--network", network, "--guard", "False"),
        *("--output_dir", str(folder), "--resume", str((folder / LAST).is_file())),
    ]
    logger.info("guard: the same training from scratch, in %s", folder)
    command = [sys.executable, "-m", "monai.bundle", *_without(sys.argv[1:], words[::2]), *words]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise MedTLError(
            "the training from scratch failed, so nothing was compared",
            path=folder,
            expected="exit status 0",
            got=code,
            remedy="the transferred model is in place; repeat with `--resume True`, or leave `--guard` out",
        )


def _keep_better(folder: Path) -> None:
    scratch = folder / SCRATCH_FOLDER
    cases = len(_record(folder)["data"].get("validation", ()))
    found = verdict(_metric(folder), _metric(scratch), cases)
    if found.kept == SCRATCH:
        _copy(folder / BEST, folder / TRANSFERRED)
        write_lineage(folder / TRANSFERRED, lineage_of_file(folder / BEST))
        _copy(scratch / BEST, folder / BEST)
        if (scratch / CALIBRATION).is_file():
            write_text(folder / CALIBRATION, (scratch / CALIBRATION).read_text(encoding="utf-8"))
        record_lineage(folder / BEST, ())
    write_text(folder / VERDICT, json.dumps(asdict(found), indent=2) + "\n")
    logger.info("guard: %s", found.sentence)


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without some options and their values."""
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.partition("=")[0] not in options:
            kept.append(word)
        elif "=" not in word and rest and not rest[0].startswith("--"):
            rest.pop(0)
    return kept


def _record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return content


def _metric(folder: Path) -> float:
    value = _record(folder)["metrics"].get("best_validation")
    if value is None:
        raise MedTLError(
            "no validation metric to compare", path=folder / "run.json", remedy="the guard needs validation cases"
        )
    return float(value)


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target, check=read_state) as temporary:
        shutil.copyfile(source, temporary)
