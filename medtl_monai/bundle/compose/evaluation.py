"""`evaluate.json`."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import checkpoint_loader, require_cases, require_weights, segments
from medtl_monai.bundle.compose.recipe import Recipe, Step
from medtl_monai.bundle.compose.steps import fixed_steps, to_onehot

_WORKFLOWS = "medtl_monai.workflows"


def evaluate_config(recipe: Recipe) -> dict[str, Any]:
    """What turns a training into the evaluation of its model, laid over `train.json`."""
    head = {
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_dir": "$@bundle_root + '/models'",
        "split": "test",
        **_names(recipe),
        "validate#dataset#data#split": "@split",
    }
    judge: Step = {
        "_target_": f"{_WORKFLOWS}.case_metrics.CaseMetrics",
        "folder": "@output_dir",
        "label_names": "@channel_names" if recipe.renumbered else "@label_names",
    }
    if not segments(recipe):
        judge = {
            "_target_": f"{_WORKFLOWS}.classification_metrics.ClassMetrics",
            "folder": "@output_dir",
            "class_names": "@class_names",
            "positive": "@positive",
            "model": "$@ckpt_dir + '/model.pt'",
        }
    return {
        **head,
        **(_on_the_scans_grid(recipe) if segments(recipe) else {}),
        "validate#handlers": [checkpoint_loader("$@ckpt_dir + '/model.pt'"), judge],
        "run": [
            require_cases(recipe, "@validate#dataset#data"),
            require_weights(recipe, "$@ckpt_dir + '/model.pt'"),
            "$@validate#evaluator.run()",
        ],
    }


def _names(recipe: Recipe) -> dict[str, Any]:
    if not segments(recipe):
        return {"class_names": recipe.texts, "positive": recipe.positive}
    return {"channel_names": recipe.texts} if recipe.renumbered else {}


def _on_the_scans_grid(recipe: Recipe) -> dict[str, Any]:
    """Judge on the scan's own grid, against the labels as they are on disk."""
    fixed = len(fixed_steps(recipe))
    before = fixed - 1
    steps = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@validate#preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
        },
        {"_target_": "DeleteItemsd", "keys": "label"},
        {"_target_": "CopyItemsd", "keys": "truth", "names": "label"},
        to_onehot(recipe),
    ]
    steps_of = "*@train#preprocessing.transforms"
    order = f"$[{steps_of}[:{before}], @keep_truth, {steps_of}[{before}:{fixed}]]"
    return {
        "keep_truth": {"_target_": "CopyItemsd", "keys": "label", "names": "truth"},
        "validate#preprocessing": {"_target_": "Compose", "transforms": order},
        "validate#postprocessing": {"_target_": "Compose", "transforms": steps},
    }
