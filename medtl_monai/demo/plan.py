"""Which commands the demo runs, on which data, with which settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medtl_monai.demo.bundle_runs import BundleRun
from medtl_monai.demo.cohorts import DemoData

ARMS = ("transfer", "scratch")


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of one training: equal for both arms but for the source."""

    labelled: int
    epochs: int
    cases_per_epoch: int
    learning_rate: float
    patch_size: tuple[int, int, int]
    network: str


SOURCE_PLAN = TrainingPlan(0, 30, 22, 2e-3, (32, 48, 32), "unet")
PHANTOM_PLAN = TrainingPlan(4, 8, 8, 1e-3, (32, 48, 32), "unet")
HIPPOCAMPUS_PLAN = TrainingPlan(4, 10, 24, 1e-3, (24, 24, 24), "highres3dnet")


@dataclass(frozen=True)
class DemoPlan:
    """All commands of the demo.

    Attributes:
        bundle: bundle folder.
        output: output folder of the demo.
        data: cohorts.
        training: settings of the two arms.
        source_training: settings of the source model's training, where the data have a source cohort.
    """

    bundle: Path
    output: Path
    data: DemoData
    training: TrainingPlan
    source_training: TrainingPlan = SOURCE_PLAN

    def run_folder(self, name: str) -> Path:
        """Folder of a training's outputs."""
        return self.output / "runs" / name

    @property
    def source(self) -> str:
        """Value of the ``source`` knob of the transfer arm."""
        return str(self.run_folder("source") / "model.pt") if self.data.source_cohort is not None else self.data.source

    def train_source(self) -> list[BundleRun]:
        """Training of the source model, where there is none yet."""
        if self.data.source_cohort is None:
            return []
        folder = self.data.source_cohort
        return [
            self._training("source", "source model", folder, folder / "datalist.json", "scratch", self.source_training)
        ]

    def train_arms(self) -> list[BundleRun]:
        """The same training from the source and from scratch."""
        target, datalist = self.data.target, self.data.datalist
        return [
            self._training("transfer", "fine-tune from the source", target, datalist, self.source, self.training),
            self._training("scratch", "the same from scratch", target, datalist, "scratch", self.training),
        ]

    def evaluate_arms(self) -> list[BundleRun]:
        """Evaluation of both arms on the test cases."""
        configs = [self.bundle / "configs" / name for name in ("train.json", "evaluate.json")]
        return [
            BundleRun(
                name=f"evaluate {arm}",
                configs=configs,
                options={
                    **self._common(),
                    "network": self.training.network,
                    "dataset_dir": self.data.target,
                    "datalist": self.data.datalist,
                    "ckpt_dir": self.run_folder(arm),
                    "output_dir": self.run_folder(arm) / "test",
                },
                log=self.output / "logs" / f"evaluate_{arm}.log",
            )
            for arm in ARMS
        ]

    def predict(self, test_case: Path) -> list[BundleRun]:
        """Prediction of the scan and of one test case with the fine-tuned model."""
        return [
            BundleRun(
                name=f"predict {name}",
                configs=[self.bundle / "configs" / "inference.json"],
                options={
                    **self._common(),
                    "network": self.training.network,
                    "dataset_dir": path,
                    "ckpt_path": self.run_folder("transfer") / "model.pt",
                    "output_dir": self.output / "predictions" / folder,
                },
                log=self.output / "logs" / f"predict_{folder}.log",
            )
            for name, folder, path in (
                ("the DICOM series" if self.data.scan.is_dir() else "a scan", "scan", self.data.scan),
                ("a test case", "test_case", test_case),
            )
        ]

    def _common(self) -> dict[str, object]:
        return {
            "bundle_root": self.bundle,
            "meta_file": self.bundle / "configs" / "metadata.json",
            "logging_file": self.bundle / "configs" / "logging.conf",
            "precision": "auto",
        }

    def _training(
        self, folder: str, name: str, dataset: Path, datalist: Path, source: str, plan: TrainingPlan
    ) -> BundleRun:
        output = self.run_folder(folder)
        return BundleRun(
            name=name,
            configs=[self.bundle / "configs" / "train.json"],
            options={
                **self._common(),
                "network": plan.network,
                "source": source,
                "labelled": plan.labelled,
                "epochs": plan.epochs,
                "cases_per_epoch": plan.cases_per_epoch,
                "learning_rate": plan.learning_rate,
                "patch_size": list(plan.patch_size),
                "dataset_dir": dataset,
                "datalist": datalist,
                "output_dir": output,
            },
            log=self.output / "logs" / f"train_{folder}.log",
            curves=output / "curves.csv",
            epochs=plan.epochs,
        )
