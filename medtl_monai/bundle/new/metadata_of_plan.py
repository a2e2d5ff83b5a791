"""`metadata.json` of a planned bundle, complete against the contract of MONAI's tools."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata as packages
from pathlib import PurePath
from typing import Any

import torch

from medtl_monai.bundle.compose.recipe import Recipe
from medtl_monai.bundle.new.names import subject_words, title
from medtl_monai.bundle.planning.inventory import Inventory
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.source import lineage_of

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
UNKNOWN = "not stated; fill this in"
_MODALITIES = {"ct": "CT", "mri": "MR", "picture": "pictures (PNG, JPEG)", "mask": "binary masks"}
_REQUIRED = ("medtl-monai", "nibabel", "pydicom", "pytorch-ignite", "scipy")
_FACTORS = (8, 16, 32, 64)
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".nii": "nifti", ".gz": "nifti"}


def metadata_of_plan(plan: Plan, recipe: Recipe, inventory: Inventory) -> dict[str, Any]:
    """The metadata; versions are those installed here.

    Raises:
        ConfigError: the network fits no multiple of 8 to 64 voxels.
    """
    segments = plan.task == "segmentation"
    modality = modality_of(plan)
    about = subject_words(plan.name)
    pillow = () if plan.dimensions.value == 3 else ("pillow",)
    texts = recipe.texts.values()
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "written by medtl new"},
        "monai_version": version_of("monai"),
        "pytorch_version": version_of("torch"),
        "numpy_version": version_of("numpy"),
        "required_packages_version": {name: version_of(name) for name in sorted((*_REQUIRED, *pillow))},
        "supported_apps": {},
        "name": title(plan.name),
        "task": " ".join(word for word in (modality_word(plan), about.lower(), plan.task) if word),
        "description": f"{plan.dimensions.value}D {modality} {plan.task} into {', '.join(texts)}; "
        f"network {plan.network.value}, planned from {len(inventory.cases)} labelled cases. No trained weights yet.",
        "authors": UNKNOWN,
        "copyright": UNKNOWN,
        "data_source": UNKNOWN,
        "weights_lineage": [],
        "data_type": ", ".join(data_types(case.image for case in inventory.cases)),
        "image_classes": _image_words(plan, recipe),
        "label_classes": ", ".join(f"{value} {recipe.names[value]}" for value in recipe.values),
        "pred_classes": f"{recipe.classes} channels of softmax scores: {', '.join(texts)}"
        if segments
        else f"probabilities of {recipe.classes} classes: {', '.join(texts)}",
        "intended_use": "Research only; not a medical device",
        "modality": modality,
        "organ": about or UNKNOWN,
        "references": [entry.citation for entry in lineage_of(plan.source.value) if entry.citation],
        "network_data_format": _formats(plan, recipe, modality),
    }


def modality_of(plan: Plan) -> str:
    """The modality in words, as metadata have it."""
    return _MODALITIES.get(plan.modality.value, plan.modality.value.upper())


def modality_word(plan: Plan) -> str:
    """``CT``, ``MR`` or another DICOM Modality; empty for pictures and masks."""
    return "" if plan.modality.value in ("picture", "mask") else modality_of(plan)


def version_of(package: str) -> str:
    """The installed version without local parts such as ``+cpu``. Raises ConfigError if it is not installed."""
    try:
        return packages.version(package).partition("+")[0]
    except packages.PackageNotFoundError as error:
        raise ConfigError(f"{package} is not installed", remedy=f"pip install {package}") from error


def data_types(images: Iterable[str]) -> list[str]:
    """Kinds of files: a known suffix, else DICOM."""
    return sorted({_KINDS.get(PurePath(image).suffix.lower(), "dicom") for image in images})


def _image_words(plan: Plan, recipe: Recipe) -> str:
    modality = modality_of(plan)
    if plan.task == "segmentation":
        spacing = " x ".join(f"{edge:g}" for edge in plan.spacing.value or ())
        return f"single channel {modality} volume, {spacing} mm along {plan.orientation.value}"
    shape = "x".join(map(str, _image_shape(plan)))
    if plan.dimensions.value == 2:
        return f"single channel {modality}, padded to a square, {shape}"
    return f"single channel {modality} volume, resized to {shape}"


def _image_shape(plan: Plan) -> list[int]:
    size = plan.image_size.value
    return [size, size] if isinstance(size, int) else list(size or ())


def _formats(plan: Plan, recipe: Recipe, modality: str) -> dict[str, Any]:
    segments = plan.task == "segmentation"
    shape: list[Any] = [f"{spatial_factor(recipe)}*n"] * 3 if segments else _image_shape(plan)
    unit = plan.intensity.value["then"] == "unit"
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": modality,
        "num_channels": 1,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1] if unit else [],
        "is_patch_data": segments,
        "channel_def": {"0": "image"},
    }
    pred = {
        "type": "image" if segments else "probabilities",
        "format": "segmentation" if segments else "classes",
        "num_channels": recipe.classes,
        "spatial_shape": shape if segments else [1, recipe.classes],
        "dtype": "float32",
        "value_range": [] if segments else [0, 1],
        "is_patch_data": segments,
        "channel_def": dict(recipe.texts),
    }
    return {"inputs": {"image": image}, "outputs": {"pred": pred}}


def spatial_factor(recipe: Recipe) -> int:
    """The smallest of 8, 16, 32, 64 whose multiples a segmentation network takes; nothing is computed for it.

    Raises:
        ConfigError: it takes none.
    """
    with torch.device("meta"):
        network = build_network(recipe.network, out_channels=recipe.classes).eval()
        for factor in _FACTORS:
            if all(_takes(network, factor * n, recipe.dimensions) for n in (1, 3)):
                return factor
    raise ConfigError(f"network {recipe.network!r} takes no multiple of 8 to 64 voxels", got=recipe.network)


def _takes(network: torch.nn.Module, length: int, dimensions: int) -> bool:
    image = torch.empty(1, 1, *[length] * dimensions)
    try:
        with torch.no_grad():
            output = network(image)
    except RuntimeError:  # torch's word for shapes that do not fit
        return False
    return bool(output.shape[2:] == image.shape[2:])
