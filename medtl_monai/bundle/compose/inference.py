"""`inference.json`."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.blocks import (
    DEVICE,
    channels,
    checkpoint_loader,
    evaluator,
    inferer,
    load,
    network_def,
    prepare,
    require_cases,
    require_weights,
)
from medtl_monai.bundle.compose.recipe import Recipe, Step

_WORKFLOWS = "medtl_monai.workflows"


def inference_config(recipe: Recipe) -> dict[str, Any]:
    """From files to masks or probabilities, as `python -m monai.bundle run`, MONAI Label and Deploy take it."""
    segments = recipe.task == "segmentation"
    batched = {} if segments else {"batch_size": "@batch_size"}
    factory = "cases.inference_cases" if segments else "classification_cases.class_inference_cases"
    steps = [load(recipe, "image"), {"_target_": "EnsureChannelFirstd", "keys": "image"}, prepare(recipe, "image")]
    return {
        **_knobs(recipe),
        "device": DEVICE,
        **(_displayable(recipe) if segments else {}),
        "network": {
            "_target_": "medtl_monai.networks.factory.build_network",
            "name": recipe.network,
            **channels(recipe),
        },
        "network_def": network_def(recipe, seeded=False),
        "model": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {
            "_target_": "Dataset",
            "transform": "@preprocessing",
            "data": {"_target_": f"medtl_monai.data.{factory}", "path": "@dataset_dir"},
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", **batched},
        "inferer": _inferer(recipe),
        "postprocessing": _masks(recipe) if segments else _probabilities(),
        "handlers": [checkpoint_loader("@ckpt_path"), *([] if segments else _class_handlers())],
        "evaluator": evaluator("", metric=False),
        "initialize": ["$monai.utils.set_determinism(seed=0)"],
        "run": [
            require_cases(recipe, "@dataset#data"),
            require_weights(recipe, "@ckpt_path"),
            "$@evaluator.run()",
        ],
    }


def _knobs(recipe: Recipe) -> dict[str, Any]:
    found = {
        "bundle_root": ".",
        "dataset_dir": "./data",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "precision": "float32",
        **recipe.knobs,
    }
    if recipe.task == "segmentation":
        return {**found, "label_values": recipe.values, "out_channels": "$len(@label_values)"}
    own = {"batch_size": recipe.batch_size, "explain": False, "classes": recipe.classes, "class_names": recipe.texts}
    return {**found, **own}


def _displayable(recipe: Recipe) -> dict[str, Any]:
    batch = {"slices_per_batch": 16} if recipe.slice_axis is not None else {"sw_overlap": 0.5, "sw_batch_size": 1}
    mirrored = {"test_time_augmentation": False} if recipe.mirror_axes else {}
    return {"displayable_configs": {**batch, **mirrored}}


def _inferer(recipe: Recipe) -> Step:
    if recipe.task == "classification":
        return inferer(recipe)
    shown = "@displayable_configs#"
    mirrored = f"{shown}test_time_augmentation" if recipe.mirror_axes else None
    if recipe.slice_axis is not None:
        return inferer(recipe, batch=f"{shown}slices_per_batch", mirrored=mirrored)
    return inferer(recipe, f"{shown}sw_overlap", f"{shown}sw_batch_size", mirrored)


def _masks(recipe: Recipe) -> Step:
    saving: Step = {
        "output_dir": "@output_dir",
        "output_dtype": "$np.uint8" if max(recipe.values) < 256 else "$np.uint16",
        "output_postfix": "seg",
        "separate_folder": False,
        "writer": "medtl_monai.io.writer.AtomicNiftiWriter",
        "output_name_formatter": {"_target_": f"{_WORKFLOWS}.output_name.by_input", "_mode_": "callable"},
        "print_log": False,
    }
    save: Step = {"_target_": "SaveImaged", "keys": "pred", **saving}
    if recipe.renumbered:
        save = {
            "_target_": "medtl_monai.transforms.saved_values.SaveImageValuesd",
            "keys": "pred",
            "values": "@label_values",
            "settings": saving,
        }
    steps = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        save,
    ]
    return {"_target_": "Compose", "transforms": steps}


def _probabilities() -> Step:
    # MONAI Label appends Restored, which takes every result for a mask on the image's grid: without image it rests
    return {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "DeleteItemsd", "keys": ["image", "image_meta_dict"]},
        ],
    }


def _class_handlers() -> list[Step]:
    return [
        {
            "_target_": f"{_WORKFLOWS}.classification_predictions.ClassPredictions",
            "folder": "@output_dir",
            "class_names": "@class_names",
        },
        {
            "_target_": f"{_WORKFLOWS}.saliency.SaliencyPictures",
            "network": "@model",
            "folder": "$@output_dir + '/saliency'",
            "class_names": "@class_names",
            "enabled": "@explain",
        },
    ]
