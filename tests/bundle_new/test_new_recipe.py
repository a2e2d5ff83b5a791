"""Decisions of a plan arrive in the configurations, and what cannot be carried out is refused before writing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_data import ct_with_organs, pictures, save, volumes

from medtl_monai.bundle.compose.write import configurations
from medtl_monai.bundle.new.intensity_calls import prepared
from medtl_monai.bundle.new.recipe_of_plan import recipe_of_plan, require_trainable, rotations
from medtl_monai.bundle.planning.choice import Choice
from medtl_monai.bundle.planning.data_fingerprint import take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.bundle.planning.options import PlanOptions
from medtl_monai.bundle.planning.plan import Plan, make_plan
from medtl_monai.errors import ConfigError


def planned(data: Path, task: str, **options: Any) -> Plan:
    chosen = PlanOptions(**{"name": f"thing_{task}", "source": "scratch", "memory_gb": 2, **options})
    return make_plan(take_fingerprint(take_inventory(data, task)), chosen)


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(ct_with_organs(tmp_path_factory.mktemp("ct")), "segmentation")


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(pictures(tmp_path_factory.mktemp("pictures") / "data"), "classification")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(volumes(tmp_path_factory.mktemp("masks"), masks=True), "classification")


def test_knobs_are_the_plans(segmentation: Plan) -> None:
    train = configurations(recipe_of_plan(segmentation))["train.json"]
    for knob in ("epochs", "learning_rate", "batch_size", "cases_per_epoch", "spacing", "patch_size"):
        assert train[knob] == getattr(segmentation, knob).value, knob
    assert train["label_values"] == [0, 5, 9]
    assert train["source"] == "scratch"  # whatever the plan: see docs/new.md


def test_weights_of_classes_are_in_the_order_of_the_channels(segmentation: Plan) -> None:
    weights = {"9": 3.0, "0": 1.0, "5": 0.5}
    plan = replace(segmentation, loss=Choice({**segmentation.loss.value, "class_weights": weights}, ""))
    loss = configurations(recipe_of_plan(plan))["train.json"]["task_loss"]
    assert loss["_target_"].endswith("weighted_dice_ce")
    assert loss["class_weights"] == [1.0, 0.5, 3.0]


def test_weights_of_a_classifier(slices: Plan) -> None:
    assert recipe_of_plan(slices).loss is None
    plan = replace(slices, loss=Choice({"name": "cross_entropy", "class_weights": {"0": 2.0, "1": 0.7}}, ""))
    loss = recipe_of_plan(plan).loss
    assert loss is not None
    assert (loss["_target_"].rpartition(".")[2], loss["class_weights"]) == ("weighted_cross_entropy", [2.0, 0.7])


@pytest.mark.parametrize(
    ("intensity", "call", "arguments"),
    [
        ({"kind": "ct_window", "window": "lung", "low": -1350, "high": 150, "then": "zscore"}, "ct_volume", {}),
        ({"kind": "ct_range", "low": -80, "high": 120, "then": "zscore"}, "ct_volume", {}),
        ({"kind": "zscore", "nonzero": True, "then": "zscore"}, "mr_volume", {"nonzero": True}),
        ({"kind": "zscore", "nonzero": False, "then": "zscore"}, "mr_volume", {}),
        ({"kind": "unit", "then": "zscore"}, "mr_volume", {"clip": True}),
        ({"kind": "unit", "then": "unit"}, "mr_volume", {}),
        ({"kind": "robust_zscore", "then": "robust_zscore"}, "mr_volume", {}),
    ],
)
def test_intensities_choose_the_call(segmentation: Plan, intensity: dict, call: str, arguments: dict) -> None:
    step, knobs = prepared(replace(segmentation, intensity=Choice(intensity, "")))
    assert step["_target_"] == f"medtl_monai.transforms.modality.{call}"
    assert {key: value for key, value in step.items() if key in ("nonzero", "clip")} == arguments
    windows = {"ct_window": "lung", "ct_range": [-80.0, 120.0]}
    assert knobs.get("hu_window") == windows.get(intensity["kind"])


def test_a_kind_that_nobody_knows(segmentation: Plan) -> None:
    with pytest.raises(ConfigError, match="kind of intensity"):
        prepared(replace(segmentation, intensity=Choice({"kind": "gamma"}, "")))


def test_masks_are_recognised_and_keep_their_values(shapes: Plan) -> None:
    assert (shapes.modality.value, shapes.intensity.value["kind"]) == ("mask", "mask")
    step, knobs = prepared(shapes)
    assert step["_target_"].endswith("mask_volume")
    assert knobs == {"image_size": shapes.image_size.value}
    names = {step["_target_"] for step in recipe_of_plan(shapes).augmentation}
    assert names == {"RandFlipd", "RandAffined"}  # no brightness, contrast or noise: there are two values


def test_ct_slices_take_a_range(slices: Plan) -> None:
    intensity = {"kind": "ct_range", "low": -20, "high": 90, "then": "unit"}
    step, knobs = prepared(replace(slices, intensity=Choice(intensity, "")))
    assert step["_target_"].endswith("ct_slice")
    assert knobs["windows"] == [[-20.0, 90.0]]


def test_labels_without_names_are_not_mirrored(segmentation: Plan) -> None:
    assert segmentation.flips.value == []  # label_5 and label_9 may be the kidneys
    assert "label_5" in segmentation.flips.reason
    assert "RandFlipd" not in json.dumps(recipe_of_plan(segmentation).augmentation)


def test_thick_slices_are_turned_in_their_plane_alone() -> None:
    assert rotations([1, 1, 3]) == [0.26, 0.26, 0.26]
    assert rotations([0.5, 0.5, 5]) == [0.0, 0.0, 0.26]
    assert rotations([5, 0.5, 0.5]) == [0.26, 0.0, 0.0]  # superior axis first


def test_flat_images_with_masks_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        image = np.random.default_rng(number).integers(-1000, 200, (40, 40, 1)).astype(np.int16)
        save(tmp_path / "images" / f"{number}.nii.gz", image)
        save(tmp_path / "labels" / f"{number}.nii.gz", (image > 100).astype(np.uint8))
    plan = planned(tmp_path, "segmentation", modality="ct")
    with pytest.raises(ConfigError, match="stack the slices"):
        require_trainable(plan)


def test_networks_of_other_bundles_are_refused(segmentation: Plan) -> None:
    plan = replace(segmentation, network=Choice("bundle:/somewhere/spleen", ""), source=Choice("zoo/spleen", ""))
    with pytest.raises(ConfigError, match="defined in that bundle alone"):
        recipe_of_plan(plan)
