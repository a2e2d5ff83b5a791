"""The record of a training run, kept by a handler of the training engine."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medtl_monai.errors import OutputError
from medtl_monai.inference.precision import resolve_precision
from medtl_monai.provenance import RunRecord
from medtl_monai.transfer.source import SCRATCH, lineage_of_run
from medtl_monai.weights.load import LoadReport
from medtl_monai.workflows.batches import NAMELESS
from medtl_monai.workflows.ranks import is_main_process
from medtl_monai.workflows.run_config import config_of_command

logger = logging.getLogger(__name__)


class RecordRun:
    """Write ``run.json``: configuration, versions, seed, hashes of weights and data, metrics, and how the run ended.

    It is written first, so that an output folder that cannot be written to ends the run before any work is done.

    Args:
        folder: where ``run.json`` goes; it is made if absent.
        settings: the knobs of the run, as resolved.
        dataset_dir: dataset folder, the root of the recorded file names.
        data: split name -> cases ``{"image", "label"[, "case"]}``.
        load_report: report of the source's weights, None for ``scratch``.
    """

    def __init__(
        self,
        folder: str,
        settings: Mapping[str, Any],
        dataset_dir: str,
        data: Mapping[str, Sequence[Mapping[str, str]]],
        load_report: LoadReport | None,
    ) -> None:
        self.folder = Path(folder)
        self.settings = dict(settings)
        self.dataset_dir = dataset_dir
        self.data = {split: [_named(case) for case in cases] for split, cases in data.items()}
        self.load_report = load_report
        self.record: RunRecord | None = None

    def attach(self, engine: Engine) -> None:
        """Register with a training engine, in the process that writes."""
        if not is_main_process():
            return
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.COMPLETED, self.finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)

    def start(self, engine: Engine) -> None:
        """Write the record of a run that begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        precision = resolve_precision(str(self.settings.get("precision", "float32")), torch.device(engine.state.device))
        config = {"settings": {**self.settings, "precision_used": precision}, "bundle": config_of_command(sys.argv)}
        seeds = {"seed": int(self.settings.get("seed", 0))}
        threads = {"torch": torch.get_num_threads()}
        self.record = RunRecord(self.folder / "run.json", config=config, seeds=seeds, threads=threads)
        self.record.set_data(self.data, self.dataset_dir)
        if self.load_report is not None:
            lineage = lineage_of_run(str(self.settings.get("source", SCRATCH)), self.load_report)
            self.record.add_weights(
                self.load_report.source,
                sha256=self.load_report.sha256,
                licence=(lineage[-1].licence if lineage else None) or "unknown",
                lineage=[entry.as_dict() for entry in lineage],
                report=self.load_report.as_dict(),
            )

    def finish(self, engine: Engine) -> None:
        """Add the metrics and close the record."""
        if self.record is not None:
            best, epoch = getattr(engine.state, "best", (-math.inf, -1))
            judged = {"best_validation": best, "best_epoch": epoch} if math.isfinite(best) else {}
            self.record.set_metrics({**judged, "epochs": engine.state.epoch})
            self.record.finish()

    def fail(self, engine: Engine, error: BaseException) -> None:
        """Close the record with the error, and let the error go on."""
        record, self.record = self.record, None  # ignite reports one error for the epoch and again for the run
        if record is not None:
            try:
                record.finish("stopped" if isinstance(error, KeyboardInterrupt) else "failed", error)
            except OutputError as second:  # the run's own error matters more
                logger.error("the end of the run could not be recorded: %s", second)
        raise error


def _named(case: Mapping[str, str]) -> dict[str, str]:
    """MONAI Label's cases have no name of their own: the image file's serves."""
    name = case.get("case") or Path(str(case.get("image", NAMELESS))).name.removesuffix(".gz").removesuffix(".nii")
    return {"case": name, **{key: str(case[key]) for key in ("image", "label") if key in case}}
