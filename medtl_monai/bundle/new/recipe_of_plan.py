"""From the decisions of a plan to the recipe that configurations are written from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medtl_monai.bundle.compose.augmentation import (
    ANGLE,
    BLUR,
    affine,
    affine_2d_image,
    affine_3d_image,
    brightness,
    contrast,
    flip,
    noise,
)
from medtl_monai.bundle.compose.optimisation import DICE_CE
from medtl_monai.bundle.compose.recipe import Recipe, Step
from medtl_monai.bundle.new.intensity_calls import prepared
from medtl_monai.bundle.planning.geometry import ANISOTROPIC
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.errors import ConfigError
from medtl_monai.networks.bundle_network import PREFIX as BUNDLE_PREFIX
from medtl_monai.transfer.source import SCRATCH, is_file_source

_LOSSES = "medtl_monai.workflows.losses"


def require_trainable(plan: Plan) -> None:
    """Refuse plans that no configuration can carry out.

    Raises:
        ConfigError: segmentation of flat images, or a default network that only another bundle's folder defines.
    """
    if plan.task == "segmentation" and plan.dimensions.value == 2:
        raise ConfigError(
            "segmentation of single slices is not supported",
            expected="volumes (NIfTI, DICOM series) with masks, three axes longer than 1",
            got=plan.dimensions.reason,
            remedy="stack the slices of a patient into one volume; for classes instead of masks: --task classification",
        )
    if plan.network.value.startswith(BUNDLE_PREFIX):
        raise ConfigError(
            f"the network of {plan.source.value} is defined in that bundle alone",
            expected="a source whose network this library has: the new bundle could not be moved without the other",
            remedy=f"take --source auto, and train with: --source {plan.source.value}",
        )


def recipe_of_plan(plan: Plan, datalist: str = "") -> Recipe:
    """The recipe of a plan.

    Args:
        plan: for 3D segmentation, or classification.
        datalist: default of the knob ``datalist``, see `Recipe`.

    Raises:
        ConfigError: see `require_trainable`.
    """
    require_trainable(plan)
    step, knobs = prepared(plan)
    values = plan.labels.value["values"]
    segments = plan.task == "segmentation"
    fetched = plan.source.value != SCRATCH and not is_file_source(plan.source.value)
    return Recipe(
        task="segmentation" if segments else "classification",
        dimensions=3 if plan.dimensions.value == 3 else 2,
        names={value: plan.labels.value["names"][str(value)] for value in values},
        network=plan.network.value,
        preprocessing=step,
        augmentation=_augmentation(plan),
        epochs=plan.epochs.value,
        learning_rate=plan.learning_rate.value,
        batch_size=plan.batch_size.value,
        cases_per_epoch=plan.cases_per_epoch.value,
        knobs=knobs,
        patch_size=plan.patch_size.value,
        window=plan.patch_size.value if segments else None,
        mirror_axes=plan.flips.value if segments else (),
        loss=_loss(plan),
        crops=(int(plan.loss.value["pos"]), int(plan.loss.value["neg"])) if segments else (2, 1),
        centres="structures" if segments and len(values) > 2 else "foreground",
        source=plan.source.value if fetched else "",
        strategy=plan.strategy.value if fetched else "",
        datalist=datalist,
    )


def _loss(plan: Plan) -> Step | None:
    """The loss; weights by channel, where the plan has some. None: cross-entropy without weights."""
    weights = plan.loss.value["class_weights"]
    segments = plan.task == "segmentation"
    if weights is None:
        return dict(DICE_CE) if segments else None
    ordered = [float(weights[str(value)]) for value in plan.labels.value["values"]]
    name = "weighted_dice_ce" if segments else "weighted_cross_entropy"
    return {"_target_": f"{_LOSSES}.{name}", "class_weights": ordered, "device": "@device"}


def _augmentation(plan: Plan) -> list[Step]:
    if plan.task == "segmentation":
        return _of_patches(plan)
    flips = [flip(axis, "image") for axis in plan.flips.value]
    if plan.dimensions.value == 2:
        shift = max(1, round(0.045 * _side(plan.image_size.value)))  # 10 pixels of 224
        return [*flips, affine_2d_image(shift), contrast(0.8, 1.25), brightness(0.1)]
    if plan.intensity.value["kind"] == "mask":
        return [*flips, affine_3d_image()]
    return [*flips, affine_3d_image(), contrast(0.8, 1.25), brightness(0.1), noise(_deviation(plan))]


def _side(size: Any) -> int:
    if not isinstance(size, int):
        raise ConfigError("a plan for 2D images has no image size", expected="a number of pixels", got=size)
    return size


def _of_patches(plan: Plan) -> list[Step]:
    flips = [flip(axis) for axis in plan.flips.value]
    turns = rotations(plan.spacing.value or [1.0, 1.0, 1.0])
    if "low" in plan.intensity.value:  # CT
        return [*flips, affine(turns, [0.1] * 3), brightness(0.1), noise(_deviation(plan))]
    moved = affine(turns, [0.15] * 3)
    return [*flips, moved, contrast(0.7, 1.5), brightness(0.2), BLUR, noise(_deviation(plan))]


def _deviation(plan: Plan) -> float:
    """Of the noise: in units of the image's own deviation, or of the range [0, 1]."""
    if plan.intensity.value["then"] == "unit":
        return 0.05
    return 0.1 if "low" in plan.intensity.value else 0.15


def rotations(spacing: Sequence[float]) -> list[float]:
    """Largest angle around each axis, in radians: 0 where the other two axes have voxel sizes too far apart.

    Turning happens in voxels; with thick slices it would shear the anatomy.
    """
    found = []
    for axis in range(3):
        first, second = (edge for number, edge in enumerate(spacing) if number != axis)
        found.append(ANGLE if max(first, second) <= ANISOTROPIC * min(first, second) else 0.0)
    return found
