"""Cases and transforms of a training."""

from __future__ import annotations

from medtl_monai.bundle.compose.blocks import load, prepare, renumber, segments
from medtl_monai.bundle.compose.recipe import Recipe, Step

_DATA = "medtl_monai.data"


def fixed_steps(recipe: Recipe) -> list[Step]:
    """The part of the preprocessing without randomness, which validation shares."""
    if not segments(recipe):
        return [load(recipe, "image"), {"_target_": "EnsureChannelFirstd", "keys": "image"}, prepare(recipe, "image")]
    loads = [load(recipe, "image"), load(recipe, "label")]
    return [
        *loads,
        {"_target_": "EnsureChannelFirstd", "keys": "@both"},
        *renumber(recipe, "label"),
        prepare(recipe, "@both"),
    ]


def crop_steps(recipe: Recipe) -> list[Step]:
    """Random patches, or slices, around the labels; nothing for whole images."""
    if not segments(recipe):
        return []
    pos, neg = recipe.crops
    crop: Step = {
        "_target_": "RandCropByPosNegLabeld",
        "keys": "@both",
        "label_key": "label",
        "spatial_size": "@patch_size",
        "pos": pos,
        "neg": neg,
    }
    found: list[Step] = [{"_target_": "SpatialPadd", "keys": "@both", "spatial_size": "@patch_size"}]
    if recipe.centres == "structures":
        found.append({"_target_": "medtl_monai.transforms.crop_centres.CropCentresd", "keys": "label"})
        crop |= {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    found.append(crop)
    if recipe.slice_axis is not None:
        found.append({"_target_": "SqueezeDimd", "keys": "@both", "dim": recipe.slice_axis + 1})
    return found


def _data(recipe: Recipe, split: str) -> Step:
    drawn = {"labelled": "@labelled", "seed": "@seed"} if split == "training" else {}
    factory = "cases.training_cases" if segments(recipe) else "classification_cases.classification_cases"
    found = {
        "_target_": f"{_DATA}.{factory}",
        "dataset_dir": "@dataset_dir",
        "split": split,
        "datalist": "@datalist",
        **drawn,
    }
    if segments(recipe):
        return {**found, "label_values": "@label_values"}
    colour = {"colour": "@colour"} if "colour" in recipe.knobs else {}
    return {**found, "classes": "@classes", **colour}


def cached(recipe: Recipe, split: str, prefix: str) -> Step:
    """A data set of one split, the steps without randomness computed once."""
    return {
        "_target_": "CacheDataset",
        "transform": f"@{prefix}#preprocessing",
        "num_workers": 1,
        "progress": False,
        "data": _data(recipe, split),
    }


def to_onehot(recipe: Recipe) -> Step:
    """Scores and labels as one channel per class."""
    return {
        "_target_": "AsDiscreted",
        "keys": ["pred", "label"],
        "argmax": [True, False],
        "to_onehot": "@out_channels",
    }
