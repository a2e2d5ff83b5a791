"""The knobs at the top of `train.json`, and what a run records of them."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import segments
from medtl_monai.bundle.compose.recipe import Recipe

_DATA = "medtl_monai.data"


def knobs(recipe: Recipe) -> dict[str, Any]:
    """Every setting that a user may change on the command line."""
    calibrate = {} if segments(recipe) else {"calibrate": True}
    found = {
        "bundle_root": ".",
        "dataset_dir": "./data",
        "datalist": recipe.datalist,
        "output_dir": "$@bundle_root + '/models'",
        "ckpt_dir": "@output_dir",
        "source": "scratch",
        "commercial": False,
        "reestimate_norm": False,
        "strategy": "fine_tune",
        "labelled": 0,
        "seed": 0,
        "resume": False,
        "ema": 0.0,
        "guard": False,
        **calibrate,
        "epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "cases_per_epoch": recipe.cases_per_epoch,
        "val_interval": 1,
        "val_at_start": True,
        "precision": "float32",
        **recipe.knobs,
    }
    if segments(recipe):
        return {
            **found,
            "patch_size": list(recipe.patch_size or ()),
            "label_values": recipe.values,
            "label_names": recipe.value_texts,
            "out_channels": "$len(@label_values)",
            "both": ["image", "label"],
        }
    return {**found, "classes": recipe.classes}


def run_settings(recipe: Recipe) -> dict[str, Any]:
    """The resolved knobs, for `run.json`."""
    size = "patch_size" if segments(recipe) else "image_size"
    names = ("source", "strategy", "labelled", "reestimate_norm", "seed", "epochs", "learning_rate", "batch_size")
    found: dict[str, Any] = {
        "network": "$@network_def.architecture",
        **{name: f"@{name}" for name in (*names, size, "precision")},
    }
    if not segments(recipe):
        counts = f"{_DATA}.classification_cases.class_counts"
        found["class_counts"] = {"_target_": counts, "cases": "@train#dataset#data"}
    return found
