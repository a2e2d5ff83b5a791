"""The part `train` of `train.json`."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import segments
from medtl_monai.bundle.compose.recipe import Recipe, Step
from medtl_monai.bundle.compose.steps import cached, crop_steps, fixed_steps

_WORKFLOWS, _TRANSFER, _DATA = "medtl_monai.workflows", "medtl_monai.transfer", "medtl_monai.data"


def train_part(recipe: Recipe) -> dict[str, Any]:
    """Data, inferer, handlers and engine of the training."""
    steps = [*fixed_steps(recipe), *crop_steps(recipe), *recipe.augmentation]
    return {
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": cached(recipe, "training", "train"),
        "sampler": {
            "_target_": "torch.utils.data.RandomSampler",
            "data_source": "@train#dataset",
            "num_samples": "@cases_per_epoch",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@train#dataset",
            "batch_size": "@batch_size",
            "sampler": "@train#sampler",
        },
        "inferer": {"_target_": "medtl_monai.inference.inferers.PatchInferer", "precision": "@precision"},
        "handlers": [_record(recipe), _handlers(recipe)],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": "@epochs",
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "network": "@model",
            "loss_function": "@loss",
            "optimizer": "@optimizer",
            "inferer": "@train#inferer",
            "train_handlers": "@train#handlers",
        },
    }


def _record(recipe: Recipe) -> Step:
    def cases(prefix: str) -> Any:
        if segments(recipe):
            return f"@{prefix}#dataset#data"
        target = f"{_DATA}.classification_cases.recorded_cases"
        return {"_target_": target, "cases": f"@{prefix}#dataset#data"}

    return {
        "_target_": f"{_WORKFLOWS}.record.RecordRun",
        "folder": "@output_dir",
        "settings": "@settings",
        "dataset_dir": "@dataset_dir",
        "load_report": "@load_report",
        "data": {"training": cases("train"), "validation": cases("validate")},
    }


def _handlers(recipe: Recipe) -> Step:
    names = ("strategy", "learning_rate", "seed", "resume")
    calibration = {} if segments(recipe) else {"calibration": "@calibration"}
    return {
        "_target_": f"{_WORKFLOWS}.transfer_training.TransferTraining",
        "network": "@model",
        "optimizer": "@optimizer",
        "lr_scheduler": "@lr_scheduler",
        **{name: f"@{name}" for name in names},
        "loss": "@task_loss",
        "validator": "@validate#evaluator",
        "augmentation": "@train#preprocessing",
        "examples": _examples(recipe),
        "output_dir": "@output_dir",
        "ckpt_dir": "@ckpt_dir",
        "average": "@average",
        **calibration,
        **{name: f"@{name}" for name in ("reestimate_norm", "val_interval", "val_at_start")},
        "lineage": {"_target_": f"{_TRANSFER}.source.lineage_of_run", "source": "@source", "report": "@load_report"},
    }


def _examples(recipe: Recipe) -> Step:
    whole = {"_target_": "Dataset", "data": "@train#dataset#data", "transform": "@validate#preprocessing"}
    if recipe.slice_axis is None:
        return whole
    return {"_target_": f"{_WORKFLOWS}.slice_examples.LabelledSlices", "volumes": whole, "axis": recipe.slice_axis}
