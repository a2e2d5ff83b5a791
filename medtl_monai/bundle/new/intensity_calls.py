"""The one preprocessing call that a plan's modality and intensities ask for, and the knobs that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtl_monai.bundle.compose.recipe import Step
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.lookup import look_up

_MODALITY = "medtl_monai.transforms.modality"
_CT = ("ct_window", "ct_range")
_KINDS = {kind: kind for kind in (*_CT, "zscore", "robust_zscore", "unit", "picture", "mask")}


def prepared(plan: Plan) -> tuple[Step, dict[str, Any]]:
    """The call of :mod:`medtl_monai.transforms.modality` for a plan, and the knobs that its arguments name.

    Raises:
        ConfigError: the plan has a kind of intensity that is not known.
    """
    kind = look_up(_KINDS, str(plan.intensity.value["kind"]), "kind of intensity")
    if plan.task == "segmentation":
        return _patches(plan, kind)
    if plan.dimensions.value == 2:
        return _slices(plan, kind)
    return _volumes(plan, kind)


def window_of(intensity: Mapping[str, Any]) -> str | list[float]:
    """The name of the CT window, or the HU that become 0 and 1."""
    if intensity["kind"] == "ct_window":
        return str(intensity["window"])
    return [float(intensity["low"]), float(intensity["high"])]


def _patches(plan: Plan, kind: str) -> tuple[Step, dict[str, Any]]:
    knobs: dict[str, Any] = {"spacing": list(plan.spacing.value or ())}
    if kind in _CT:
        step = {"_target_": f"{_MODALITY}.ct_volume", "spacing": "@spacing", "window": "@hu_window"}
        return step, {**knobs, "hu_window": window_of(plan.intensity.value)}
    step = {"_target_": f"{_MODALITY}.mr_volume", "spacing": "@spacing", "bias_field": "@bias_field"}
    return {**step, **_switches(plan, kind)}, {**knobs, "bias_field": False}


def _slices(plan: Plan, kind: str) -> tuple[Step, dict[str, Any]]:
    knobs = {"image_size": plan.image_size.value, "colour": plan.colour.value}
    if kind in _CT:
        step = {"_target_": f"{_MODALITY}.ct_slice", "window": "@windows", "size": "@image_size"}
        return step, {**knobs, "windows": [window_of(plan.intensity.value)]}
    return {"_target_": f"{_MODALITY}.mr_slice", "size": "@image_size"}, knobs


def _volumes(plan: Plan, kind: str) -> tuple[Step, dict[str, Any]]:
    knobs: dict[str, Any] = {"image_size": plan.image_size.value}
    if kind == "mask":
        return {"_target_": f"{_MODALITY}.mask_volume", "size": "@image_size"}, knobs
    if kind in _CT:
        step = {"_target_": f"{_MODALITY}.ct_resized", "size": "@image_size", "window": "@hu_window"}
        return step, {**knobs, "hu_window": window_of(plan.intensity.value)}
    step = {"_target_": f"{_MODALITY}.mr_resized", "size": "@image_size", "bias_field": "@bias_field"}
    return {**step, **_switches(plan, kind)}, {**knobs, "bias_field": False}


def _switches(plan: Plan, kind: str) -> dict[str, bool]:
    """How a z-score is taken. Percentiles to [0, 1] before a z-score are a z-score of what lies between them."""
    if kind == "zscore" and plan.intensity.value["nonzero"]:
        return {"nonzero": True}
    return {"clip": True} if kind == "unit" and plan.intensity.value["then"] == "zscore" else {}
