"""The configurations as other tools see them: metadata against objects, required ids, what MONAI Label overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

CONFIGS = ("train", "inference", "evaluate", "multi_gpu_train")
INFERENCE_IDS = (
    "bundle_root device dataset_dir dataset evaluator network_def network inferer output_dir run preprocessing "
    "postprocessing handlers dataset#data dataset#transform displayable_configs"
)
TRAIN_IDS = (
    "bundle_root device dataset_dir network_def network val_interval train#trainer train#trainer#max_epochs "
    "train#dataset train#dataset#data train#inferer train#handlers train#preprocessing#transforms validate#evaluator "
    "validate#handlers validate#dataset validate#dataset#data validate#inferer validate#preprocessing "
    "validate#postprocessing validate#key_metric run"
)
Workflow = Callable[..., ConfigWorkflow]


def config(bundle: Path, name: str) -> dict[str, Any]:
    return json.loads((bundle / "configs" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def metadata(bundle: Path) -> dict[str, Any]:
    return config(bundle, "metadata")


def strings(value: object) -> Iterator[str]:
    """Every text in a configuration, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_layout(bundle: Path) -> None:
    for name in (
        "LICENSE",
        "configs/metadata.json",
        "configs/inference.json",
        "configs/logging.conf",
        "models/model.pt",
    ):
        assert (bundle / name).is_file(), name
    assert "segmentation" in bundle.name  # the word by which MONAI Label knows the task
    assert not list(bundle.rglob("*.py"))


def test_metadata_is_complete(metadata: dict[str, Any]) -> None:
    texts = (
        "schema version monai_version pytorch_version numpy_version task description authors copyright name "
        "image_classes label_classes pred_classes data_type intended_use modality organ"
    )
    for key in texts.split():
        assert isinstance(metadata[key], str), key
        assert metadata[key], key
    assert metadata["schema"].endswith("meta_schema_20240725.json")
    assert metadata["version"] in metadata["changelog"]
    assert all(len(part) == 1 for part in metadata["version"].split("."))  # MONAI sorts versions as text
    assert isinstance(metadata["references"], list)
    assert not re.search(r"_v\d", metadata["name"])


def test_versions_are_versions_of_installed_packages(metadata: dict[str, Any]) -> None:
    rows = metadata["required_packages_version"] | {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
    }
    for package, version in rows.items():
        assert re.fullmatch(r"\d+(\.\d+)+", version), package
        assert packages.version(package)
    assert rows["medtl-monai"] == packages.version("medtl-monai")


def test_data_format_agrees_with_the_network(metadata: dict[str, Any], workflow: Workflow) -> None:
    (image,), (pred,) = (list(metadata["network_data_format"][side].items()) for side in ("inputs", "outputs"))
    assert (image[0], pred[0]) == ("image", "pred")
    network = workflow("inference").network_def.eval()
    channels = image[1]["num_channels"]
    for n in (1, 3):
        shape = [eval(size, {"n": n}) for size in image[1]["spatial_shape"]]
        with torch.no_grad():
            output = network(torch.zeros(1, channels, *shape))
        assert output.shape == (1, pred[1]["num_channels"], *shape)
        assert str(output.dtype) == f"torch.{pred[1]['dtype']}"
    assert sorted(pred[1]["channel_def"]) == [str(index) for index in range(pred[1]["num_channels"])]
    assert sorted(image[1]["channel_def"]) == [str(index) for index in range(channels)]


def test_one_set_of_label_names(metadata: dict[str, Any], bundle: Path) -> None:
    names = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert config(bundle, "train")["label_names"] == names
    assert config(bundle, "train")["label_values"] == sorted(map(int, names))
    assert names["0"] == "background"
    for name in names.values():
        assert name in metadata["label_classes"]
        assert name in metadata["pred_classes"]
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert list(weights.values())[-1].shape == (len(names),)  # the bias of the head


@pytest.mark.parametrize(("kind", "ids"), [("inference", INFERENCE_IDS), ("train", TRAIN_IDS)])
def test_required_ids_and_properties(workflow: Workflow, kind: str, ids: str) -> None:
    made = workflow(kind)
    assert [name for name in ids.split() if name not in made.parser] == []
    assert made.check_properties() == []


def test_sizes_and_forbidden_references(bundle: Path) -> None:
    for name, most in {"train": 120, "inference": 60}.items():
        assert len((bundle / "configs" / f"{name}.json").read_text().splitlines()) <= most
    assert sum(text.startswith("$") for text in strings(config(bundle, "train"))) <= 10
    for name in CONFIGS:
        texts = list(strings(config(bundle, name)))
        assert not [text for text in texts if "@_meta_" in text or "lambda" in text], name


def test_handlers_are_dictionaries_and_parents_of_overrides_too(bundle: Path) -> None:
    train = config(bundle, "train")
    assert all(isinstance(handler, dict) for handler in train["train"]["handlers"])
    for parent in (train["train"]["dataset"], train["validate"]["dataset"], train["train"]["trainer"]):
        assert isinstance(parent, dict)
    assert isinstance(train["validate"]["evaluator"]["key_val_metric"], str)  # an inline dict breaks check_properties


@pytest.mark.parametrize("device", ["cpu", None])
@pytest.mark.parametrize(("kind", "with_data"), [("train", True), ("train", False), ("inference", False)])
def test_every_id_can_be_evaluated(bundle: Path, cohort: Path, kind: str, with_data: bool, device: str | None) -> None:
    """MONAI Label evaluates the whole file and gives the device as a text; other tools look at it without data."""
    parser = ConfigParser(config(bundle, kind))
    parser["bundle_root"] = str(bundle)
    if with_data:
        parser["dataset_dir"] = str(cohort)
    if device:
        parser["device"] = device
    parser.parse()
    needs_data = {"run"} if kind == "inference" or with_data else {"run", "train"}  # no sampler of an empty list
    for name in parser.config:
        if name not in needs_data:
            parser.get_parsed_content(name)


@pytest.mark.parametrize("name", CONFIGS)
def test_target_names_exist(bundle: Path, name: str) -> None:
    from monai.bundle.config_item import ComponentLocator
    from monai.utils import optional_import

    locator = ComponentLocator()

    def targets(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if "_target_" in value:
                yield value["_target_"]
            for item in value.values():
                yield from targets(item)
        elif isinstance(value, list):
            for item in value:
                yield from targets(item)

    for target in targets(config(bundle, name)):
        if "." in target:
            module, _, attribute = target.rpartition(".")
            assert optional_import(module, name=attribute)[1], target
        else:
            assert isinstance(locator.get_component_module_name(target), str), target


def test_displayable_settings_reach_the_inferer(workflow: Workflow) -> None:
    made = workflow(
        "inference", displayable_configs={"sw_overlap": 0.125, "sw_batch_size": 3, "test_time_augmentation": True}
    )
    assert (made.inferer.overlap, made.inferer.sw_batch_size, made.inferer.mirror_axes) == (0.125, 3, (0,))
    shown = workflow("inference").parser.get_parsed_content("displayable_configs")
    assert all(isinstance(value, (int, float, bool)) for value in shown.values())
