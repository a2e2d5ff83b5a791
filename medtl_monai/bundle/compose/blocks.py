"""Parts that several configurations have in common."""

from __future__ import annotations

from typing import Any

from medtl_monai.bundle.compose.recipe import Recipe, Step

READER = "medtl_monai.io.reader.VolumeReader"
DEVICE = "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
_COLOUR = "colour"


def segments(recipe: Recipe) -> bool:
    """Whether the task is a segmentation."""
    return recipe.task == "segmentation"


def load(recipe: Recipe, key: str) -> Step:
    """Read an image, or a label map."""
    if key == "label":
        named = "medtl_monai.transforms.named_labels.LoadNamedLabeld"
        return {"_target_": named, "keys": key, "label_names": "@label_names"}
    step = {"_target_": "LoadImaged", "keys": key, "reader": READER}
    return {**step, "colour": "@colour"} if _COLOUR in recipe.knobs else step


def prepare(recipe: Recipe, keys: str) -> Step:
    """The one call per modality."""
    target, *arguments = recipe.preprocessing.items()
    return {target[0]: target[1], "network": "@network_def", "keys": keys, **dict(arguments)}


def renumber(recipe: Recipe, key: str) -> list[Step]:
    """Label values to channels, where they differ."""
    if not recipe.renumbered:
        return []
    values, channels = recipe.values, list(range(recipe.classes))
    return [{"_target_": "MapLabelValued", "keys": key, "orig_labels": values, "target_labels": channels}]


def channels(recipe: Recipe) -> dict[str, Any]:
    """Arguments of network factories for input and output channels."""
    entering = {"in_channels": "$len(@windows)"} if "windows" in recipe.knobs else {}
    count = "@classes" if recipe.task == "classification" else "@out_channels"
    return {**entering, "out_channels": count}


def network_def(recipe: Recipe, *, seeded: bool) -> Step:
    """The id that every tool takes for the network."""
    found = {
        "_target_": "medtl_monai.networks.factory.select_network",
        "network": "@network",
        **channels(recipe),
        "dropout": 0.0,
    }
    return {**found, "seed": "@seed"} if seeded else found


def preparation(recipe: Recipe) -> list[Any]:
    """``initialize`` of a training, after the seed: the source's weights, and labels whose names are known."""
    if not segments(recipe):
        return ["@load_report"]
    cases = ["@train#dataset#data", "@validate#dataset#data"]
    target = "medtl_monai.data.label_order.require_named_labels"
    return ["@load_report", {"_target_": target, "label_names": "@label_names", "cases": cases}]


def inferer(recipe: Recipe, overlap: Any = None, batch: Any = None, mirrored: Any = None) -> Step:
    """Whole images through the network; the last three are ids of settings that users may change."""
    if recipe.task == "classification":
        return {"_target_": "medtl_monai.inference.inferers.PatchInferer", "precision": "@precision"}
    mirrors = {} if mirrored is None else {"mirror_axes": list(recipe.mirror_axes), "mirrored": mirrored}
    batches = {} if batch is None else {"batch_size" if recipe.slice_axis is not None else "sw_batch_size": batch}
    if recipe.slice_axis is not None:
        return {
            "_target_": "medtl_monai.inference.slices.SlicewiseInferer",
            "axis": recipe.slice_axis,
            **batches,
            "precision": "@precision",
            **mirrors,
        }
    return {
        "_target_": "medtl_monai.inference.inferers.VolumeInferer",
        "roi_size": list(recipe.window or ()),
        **({} if overlap is None else {"overlap": overlap}),
        **batches,
        "precision": "@precision",
        **mirrors,
    }


def evaluator(prefix: str, *, metric: bool) -> Step:
    """MONAI's evaluator of the ids under a prefix."""
    found = {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": f"@{prefix}dataloader",
        "network": "@model",
        "inferer": f"@{prefix}inferer",
        "postprocessing": f"@{prefix}postprocessing",
    }
    measured = {"key_val_metric": f"@{prefix}key_metric"} if metric else {}
    return {**found, **measured, "val_handlers": f"@{prefix}handlers"}


def checkpoint_loader(path: str) -> Step:
    """MONAI's own handler, in ``handlers`` and never in ``initialize``: see K4 of MONAI's tools."""
    return {
        "_target_": "CheckpointLoader",
        "load_path": path,
        "load_dict": {"model": "@model"},
        "map_location": "@device",
    }


def require_cases(recipe: Recipe, cases: str) -> Step:
    """Refuse to run on nothing."""
    room = "cases.require_cases" if recipe.task == "segmentation" else "classification_cases.require_class_cases"
    return {"_target_": f"medtl_monai.data.{room}", "cases": cases, "dataset_dir": "@dataset_dir"}


def require_weights(recipe: Recipe, path: str) -> Step:
    """Refuse to run untrained, with the commands that train."""
    return {
        "_target_": "medtl_monai.workflows.required_weights.require_weights",
        "path": path,
        "commands": commands(recipe),
    }


def commands(recipe: Recipe) -> list[str]:
    """The command lines that give the bundle its weights."""
    train = "python -m monai.bundle run --config_file configs/train.json --dataset_dir DATA"
    if not recipe.source:
        return [train]
    how = f" --strategy {recipe.strategy}" if recipe.strategy else ""
    return [f"medtl weights fetch {recipe.source}", f"{train} --source {recipe.source}{how}"]
