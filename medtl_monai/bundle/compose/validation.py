"""The part `validate` of `train.json`."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import evaluator, inferer, segments
from medtl_monai.bundle.compose.recipe import Recipe, Step
from medtl_monai.bundle.compose.steps import cached, fixed_steps, to_onehot


def validate_part(recipe: Recipe) -> dict[str, Any]:
    """Data, inferer, metric and engine of the validation."""
    count = len(fixed_steps(recipe))
    loader: Step = {"_target_": "DataLoader", "dataset": "@validate#dataset"}
    return {
        "preprocessing": {"_target_": "Compose", "transforms": f"$@train#preprocessing.transforms[:{count}]"},
        "dataset": cached(recipe, "validation", "validate"),
        "dataloader": loader if segments(recipe) else {**loader, "batch_size": "@batch_size"},
        "inferer": inferer(recipe),
        "postprocessing": to_onehot(recipe) if segments(recipe) else _class_postprocessing(),
        "handlers": [],
        "key_metric": _metric(recipe),
        "evaluator": evaluator("validate#", metric=True),
    }


def _class_postprocessing() -> Step:
    steps = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "AsDiscreted", "keys": "label", "to_onehot": "@classes"},
    ]
    return {"_target_": "Compose", "transforms": steps}


def _metric(recipe: Recipe) -> dict[str, Step]:
    output = {"output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
    if segments(recipe):
        return {"val_mean_dice": {"_target_": "MeanDice", "include_background": False, **output}}
    if recipe.classes > 2:
        return {"val_auc": {"_target_": "ROCAUC", "average": "macro", **output}}
    return {"val_auc": {"_target_": "ROCAUC", **output}}
