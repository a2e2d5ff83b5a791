"""``medtl study``: run what is outstanding, row by row, then report."""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.errors import ConfigError
from medtl_monai.io.atomic import write_bytes
from medtl_monai.study import preflight
from medtl_monai.study.cells import Cell, outstanding, total
from medtl_monai.study.design import (
    STUDY,
    Design,
    differences,
    fingerprints,
    load_design,
    print_differences,
    save_design,
)
from medtl_monai.study.job import Failure, Job, Outcome
from medtl_monai.study.progress import Progress
from medtl_monai.study.rows import CaseRow, Row
from medtl_monai.study.software import record_software
from medtl_monai.study.table import Table, locked
from medtl_monai.study.workers import Workers

WORK = ".work"
CONFIGURATION = "bundle configuration"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Choices:
    """How a study runs, which changes nothing about its results.

    Attributes:
        jobs: trainings at the same time.
        retry_failed: run failed runs once more.
        allow_changed_bundle: go on although the bundle's configuration file is another one; the report will say so.
    """

    jobs: int = 1
    retry_failed: bool = False
    allow_changed_bundle: bool = False


def run_study(design: Design, folder: Path, choices: Choices, say: Say) -> None:
    """Run everything that the folder's table does not hold yet.

    Each run is one row of ``runs.csv``, on the disk before the next one starts. A failed run is a row too. After any
    end, a kill included, the same call goes on where it was.

    Raises:
        ConfigError: the study cannot run, another one runs in the folder, or the folder holds one with other settings.
        OutputError: a row cannot be written.
    """
    if choices.jobs < 1:
        raise ConfigError("number of jobs", expected="1 or more", got=choices.jobs)
    config = preflight.training_config(Path(design.bundle))
    content = preflight.read_config(config)
    preflight.check(design, content)
    for caution in preflight.cautions(design, content):
        say(caution)
    with locked(folder):
        _take_over(design, folder, config, choices)
        config = _keep_configuration(config, folder)
        shutil.rmtree(folder / WORK, ignore_errors=True)  # what a killed study left
        table = Table(folder)
        try:
            _run_all(design, table, config, choices, say)
        finally:
            shutil.rmtree(folder / WORK, ignore_errors=True)


def _take_over(design: Design, folder: Path, config: Path, choices: Choices) -> None:
    """Write ``study.json``, or check that the one of the folder is gone on with."""
    prints = fingerprints(design, config)
    changed: list[dict[str, str]] = []
    if (folder / STUDY).is_file():
        old, old_prints, changed = load_design(folder)
        other_files = print_differences(old_prints, prints)
        if CONFIGURATION in other_files and choices.allow_changed_bundle:
            other_files.remove(CONFIGURATION)
            changed.append({"date": datetime.date.today().isoformat(), "sha256": prints[CONFIGURATION]})
        problems = [*differences(old, design), *(f"another content of the {name}" for name in other_files)]
        if problems:
            raise ConfigError(
                "the folder holds a study with other settings: " + "; ".join(problems),
                path=folder / STUDY,
                remedy="repeat its settings, or choose another folder by --output"
                + (" (or --allow-changed-bundle)" if CONFIGURATION in other_files else ""),
            )
    save_design(folder, design, prints, changed)
    record_software(folder)


def _keep_configuration(config: Path, folder: Path) -> Path:
    """Copy the bundle's configuration into the study: whoever edits the bundle meanwhile does not change its runs."""
    kept = folder / "configs"
    kept.mkdir(exist_ok=True)
    for path in (config, config.with_name("metadata.json")):
        if path.is_file():
            write_bytes(kept / path.name, path.read_bytes())
    return kept / config.name


def _run_all(design: Design, table: Table, config: Path, choices: Choices, say: Say) -> None:
    retry_before = len(table.rows) if choices.retry_failed else 0
    progress = Progress(total(design), choices.jobs)
    with Workers[Cell](choices.jobs, table.folder / "workers.log") as workers:
        while True:
            waiting = outstanding(design, table.rows, workers.running, retry_before)
            while waiting and workers.has_room:
                cell = waiting.pop(0)
                workers.start(cell, _job(design, cell, config, table.folder / WORK))
            if not workers.running:
                return
            for cell, outcome in workers.finished():
                row, cases = as_rows(cell, outcome, design)
                table.add(row, cases)
                shutil.rmtree(_work_folder(table.folder / WORK, cell), ignore_errors=True)
                left = outstanding(design, table.rows, (), retry_before)
                say(progress.line(row, table.rows, left, workers.running))


def _work_folder(work: Path, cell: Cell) -> Path:
    return work / uuid.uuid5(uuid.NAMESPACE_OID, repr(cell.key)).hex[:12]


def _job(design: Design, cell: Cell, config: Path, work: Path) -> Job:
    return Job(
        design.bundle, str(config), run_options(design, cell, _work_folder(work, cell)), cell.seed, design.metric
    )


def run_options(design: Design, cell: Cell, output: Path) -> dict[str, object]:
    """The overrides of the bundle's configuration for one run: judged once, by its final weights."""
    return {
        **design.settings,
        "bundle_root": design.bundle,
        "dataset_dir": design.data,
        "datalist": str(design.datalist_of(cell.seed)),
        "output_dir": str(output),
        "source": cell.arm.source,
        "strategy": cell.arm.strategy,
        "labelled": cell.labelled,
        "seed": cell.seed,
        "learning_rate": cell.rate,
        "epochs": cell.epochs,
        "val_interval": cell.epochs,
        "val_at_start": False,
        preflight.SPLIT: cell.split,
    }


def as_rows(cell: Cell, outcome: Outcome, design: Design) -> tuple[Row, list[CaseRow]]:
    """The row of a run and the rows of its cases."""
    run = uuid.uuid4().hex[:12]
    failed = isinstance(outcome, Failure)
    result = None if isinstance(outcome, Failure) else outcome
    nan = float("nan")
    row = Row(
        run=run,
        purpose=cell.purpose,
        source=cell.arm.source,
        strategy=cell.arm.strategy,
        labelled=cell.labelled,
        seed=cell.seed,
        rate=cell.rate,
        epochs=cell.epochs,
        split=cell.split,
        metric=result.metric if result else design.metric,
        score=result.score if result else nan,
        train_loss=result.train_loss if result else nan,
        seconds=round(outcome.seconds, 2),
        trainable=result.trainable if result else 0,
        parameters=result.parameters if result else 0,
        cases=result.cases if result else 0,
        network=result.network if result else "",
        draw=result.draw if result else "",
        head=result.head if result else "",
        batches=result.batches if result else "",
        status="failed" if failed else "ok",
        error=outcome.reason if isinstance(outcome, Failure) else "",
    )
    return row, [CaseRow(run, case, score) for case, score in (result.case_scores if result else [])]
