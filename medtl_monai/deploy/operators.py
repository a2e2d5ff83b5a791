"""Operators of MONAI Deploy, and one application per task. Imports the SDK: import this module only where it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator, OperatorSpec

from medtl_monai.deploy.dicom_seg import write_dicom_seg
from medtl_monai.deploy.exported import Exported
from medtl_monai.deploy.infer import Mask, Probabilities, classify, segment
from medtl_monai.io.atomic import write_json
from medtl_monai.io.segmentation import write_label_map


@dataclass(frozen=True)
class Job:
    """What an application works on: the loaded model, the path of a scan, and an existing folder for the result."""

    exported: Exported
    scan: Path
    folder: Path


class SegmentationOperator(Operator):
    """Reads a scan and segments it; emits a `Mask` on the port ``mask``. The errors are those of `segment`."""

    def __init__(self, fragment: Application, *args: Any, job: Job, name: str = "segmentation") -> None:
        self.job = job
        super().__init__(fragment, *args, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One output."""
        spec.output("mask")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment the scan."""
        op_output.emit(segment(self.job.exported, self.job.scan), "mask")


class MaskWriterOperator(Operator):
    """Writes a `Mask`: ``CASE_seg.dcm`` for DICOM, ``CASE_seg.nii.gz`` for NIfTI; whole or not at all."""

    def __init__(self, fragment: Application, *args: Any, job: Job, name: str = "mask_writer") -> None:
        self.job = job
        self.written: Path | None = None
        super().__init__(fragment, *args, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One input."""
        spec.input("mask")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write what comes in."""
        mask: Mask = op_input.receive("mask")
        path = self.job.folder / f"{mask.case}_seg{'.dcm' if mask.slices else '.nii.gz'}"
        if mask.slices:
            model = self.job.exported
            write_dicom_seg(mask, model.classes, model.name, model.version, path)
        else:
            write_label_map(mask.labels, mask.affine, path)
        self.written = path


class ClassificationOperator(Operator):
    """Reads an image and classifies it; emits `Probabilities` on the port ``probabilities``, see `classify`."""

    def __init__(self, fragment: Application, *args: Any, job: Job, name: str = "classification") -> None:
        self.job = job
        super().__init__(fragment, *args, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One output."""
        spec.output("probabilities")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Classify the image."""
        op_output.emit(classify(self.job.exported, self.job.scan), "probabilities")


class ClassesWriterOperator(Operator):
    """Writes `Probabilities` with the names of the classes as ``CASE_classes.json``; whole or not at all."""

    def __init__(self, fragment: Application, *args: Any, job: Job, name: str = "classes_writer") -> None:
        self.job = job
        self.written: Path | None = None
        super().__init__(fragment, *args, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One input."""
        spec.input("probabilities")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write what comes in."""
        found: Probabilities = op_input.receive("probabilities")
        model = self.job.exported
        path = self.job.folder / f"{found.case}_classes.json"
        content = {
            "case": found.case,
            "predicted": max(found.values, key=lambda name: found.values[name]),
            "probabilities": dict(found.values),
            "classes": {str(value): name for value, name in model.classes.items()},
            "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
            "intended_use": "Research only",
        }
        write_json(path, content)
        self.written = path


class SegmentationApp(Application):
    """Scan to mask: `SegmentationOperator`, then `MaskWriterOperator`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__([])

    def compose(self) -> None:
        """Connect the operators."""
        self.writer = MaskWriterOperator(self, job=self.job)
        source = SegmentationOperator(self, CountCondition(self, 1), job=self.job)
        self.add_flow(source, self.writer, {("mask", "mask")})


class ClassificationApp(Application):
    """Image to class probabilities: `ClassificationOperator`, then `ClassesWriterOperator`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__([])

    def compose(self) -> None:
        """Connect the operators."""
        self.writer = ClassesWriterOperator(self, job=self.job)
        source = ClassificationOperator(self, CountCondition(self, 1), job=self.job)
        self.add_flow(source, self.writer, {("probabilities", "probabilities")})


APPLICATIONS: dict[str, type[SegmentationApp] | type[ClassificationApp]] = {
    "segmentation": SegmentationApp,
    "classification": ClassificationApp,
}
