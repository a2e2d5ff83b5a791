"""Small bundles such as those of the model zoo: a clean segmentation, and the same with one planted defect each."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import ResNet, UNet

NAME = "blob_ct_segmentation"
Configs = dict[str, Any]
Change = Callable[[Path, Configs], None]
UNET = {
    **{"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2},
    **{"channels": [4, 8], "strides": [2], "dropout": 0.0},
}
BOTH = ["image", "label"]
IMAGE = {
    **{"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "dtype": "float32"},
    **{"spatial_shape": ["8*n", "8*n", "8*n"], "value_range": [0, 1], "is_patch_data": True},
}
LOGGING = """[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
"""


def metadata() -> Configs:
    """Complete, with the versions that are installed here."""
    pred = {"format": "segmentation", "num_channels": 2, "channel_def": {"0": "background", "1": "blob"}}
    texts = {key: "text" for key in ("task", "description", "authors", "copyright", "organ")}
    return {
        "schema": "https://project-monai.github.io/schema/meta_schema_20240725.json",
        **{"version": "0.1.0", "changelog": {"0.1.0": "first"}, "name": "Blobs", "modality": "CT", **texts},
        **{"monai_version": version("monai"), "pytorch_version": version("torch").split("+")[0]},
        **{"numpy_version": version("numpy"), "required_packages_version": {"nibabel": version("nibabel")}},
        "network_data_format": {
            "inputs": {"image": {**IMAGE, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {**IMAGE, **pred}},
        },
    }


def _common() -> Configs:
    return {
        **{"bundle_root": ".", "dataset_dir": "./data", "output_dir": "$@bundle_root + '/eval'", "device": "cpu"},
        **{"network_def": dict(UNET), "network": "$@network_def.to(@device)"},
    }


def _loader(path: str) -> Configs:
    load = {"load_dict": {"model": "@network"}, "map_location": "@device"}
    return {"_target_": "CheckpointLoader", "load_path": path, **load}


def inference() -> Configs:
    """With both cures of the contract: image_path parked, weights loaded in handlers."""
    steps = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "CopyItemsd", "keys": "image_path", "names": "parked", "allow_missing_keys": True},
        {"_target_": "DeleteItemsd", "keys": "image_path"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.5]},
        {"_target_": "CopyItemsd", "keys": "parked", "names": "image_path", "allow_missing_keys": True},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 200, "b_min": 0, "b_max": 1},
    ]
    post = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_dtype": "$np.uint8"},
    ]
    data = "$[{'image': i} for i in sorted(glob.glob(@dataset_dir + '/images/*.nii.gz'))]"
    return {
        "imports": ["$import glob"],
        **_common(),
        "displayable_configs": {"overlap": 0.25},
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {"_target_": "Dataset", "transform": "@preprocessing", "data": data},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset"},
        "inferer": {
            **{"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
            "overlap": "@displayable_configs#overlap",
        },
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "handlers": [_loader("$@bundle_root + '/models/model.pt'")],
        "evaluator": {
            **{"_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader"},
            **{"network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing"},
            "val_handlers": "@handlers",
        },
        "initialize": ["$monai.utils.set_determinism(seed=0)"],
        "run": ["$@evaluator.run()"],
    }


def _training() -> Configs:
    steps = [
        {"_target_": "LoadImaged", "keys": BOTH},
        {"_target_": "EnsureChannelFirstd", "keys": BOTH},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 200, "b_min": 0, "b_max": 1},
    ]
    return {
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {"_target_": "Dataset", "transform": "@train#preprocessing", "data": []},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset"},
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [
            {"_target_": "ValidationHandler", "validator": "@validate#evaluator", "interval": "@val_interval"}
        ],
        "trainer": {
            **{"_target_": "SupervisedTrainer", "max_epochs": 5, "device": "@device", "network": "@network"},
            **{"train_data_loader": "@train#dataloader", "loss_function": "@loss", "optimizer": "@optimizer"},
            **{"inferer": "@train#inferer", "train_handlers": "@train#handlers"},
        },
    }


def _validation() -> Configs:
    saver = {"_target_": "CheckpointSaver", "save_dir": "$@bundle_root + '/models'", "save_dict": {"model": "@network"}}
    dice = {"_target_": "MeanDice", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
    return {
        "preprocessing": "@train#preprocessing",
        "dataset": {"_target_": "Dataset", "transform": "@validate#preprocessing", "data": []},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset"},
        "inferer": "@train#inferer",
        "postprocessing": {
            "_target_": "AsDiscreted",
            "keys": ["pred", "label"],
            "argmax": [True, False],
            "to_onehot": 2,
        },
        "handlers": [{**saver, "save_key_metric": True, "key_metric_filename": "model.pt"}],
        "key_metric": {"val_mean_dice": {**dice, "include_background": False}},
        "evaluator": {
            **{"_target_": "SupervisedEvaluator", "device": "@device", "network": "@network"},
            **{"val_data_loader": "@validate#dataloader", "inferer": "@validate#inferer"},
            **{"postprocessing": "@validate#postprocessing", "key_val_metric": "@validate#key_metric"},
            "val_handlers": "@validate#handlers",
        },
    }


def configs() -> Configs:
    """All configurations of the clean bundle."""
    train = {
        **_common(),
        "val_interval": 1,
        "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
        "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 0.001},
        **{"train": _training(), "validate": _validation()},
        "initialize": ["$monai.utils.set_determinism(seed=0)"],
        "run": ["$@train#trainer.run()"],
    }
    saver = {"_target_": "MetricsSaver", "save_dir": "@output_dir", "metrics": ["val_mean_dice"], "summary_ops": "*"}
    evaluate = {
        "validate#handlers": [_loader("$@bundle_root + '/models/model.pt'"), saver],
        "run": ["$@validate#evaluator.run()"],
    }
    return {"metadata": metadata(), "inference": inference(), "train": train, "evaluate": evaluate}


def _balanced_unet() -> UNet:
    """Initial weights, but of two classes that both occur: what is constant would hide most defects."""
    torch.manual_seed(1)
    network = UNet(**{key: value for key, value in UNET.items() if key != "_target_"}).eval()
    image = torch.rand(1, 1, 24, 24, 24)
    with torch.no_grad():
        scores = network(image)
        list(network.parameters())[-1][1] -= (scores[:, 1] - scores[:, 0]).median()
    return network


def write_bundle(folder: Path, change: Change | None = None, name: str = NAME, network: Any = None) -> Path:
    """Write a bundle into ``folder``; ``change`` may alter its configurations before, and its files."""
    bundle, made = folder / name, copy.deepcopy(configs())
    for part in ("configs", "models"):
        (bundle / part).mkdir(parents=True)
    (bundle / "LICENSE").write_text("Apache-2.0\n")
    (bundle / "configs" / "logging.conf").write_text(LOGGING)
    network = network or _balanced_unet()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    if change is not None:
        change(bundle, made)
    for stem, content in made.items():
        (bundle / "configs" / f"{stem}.json").write_text(json.dumps(content, indent=1))
    return bundle


CLASSIFIER = {
    **{"_target_": "ResNet", "block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 4, 4]},
    **{"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2, "shortcut_type": "B", "conv1_t_size": 3},
}


def write_classifier(folder: Path, cured: bool = True, shortcut: str = "B") -> Path:
    """A classifier of volumes, inference only; not ``cured``: without the step that MONAI Label needs."""
    definition = {**CLASSIFIER, "shortcut_type": shortcut}

    def change(bundle: Path, made: Configs) -> None:
        pred = {"type": "probabilities", "format": "classes", "spatial_shape": [1, 2]}
        made["metadata"]["network_data_format"]["outputs"]["pred"].update(pred)
        made["metadata"]["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "no", "1": "yes"}
        for side in ("inputs", "outputs"):
            tensors = made["metadata"]["network_data_format"][side]
            tensors["image" if side == "inputs" else "pred"]["is_patch_data"] = False
        made["metadata"]["network_data_format"]["inputs"]["image"]["spatial_shape"] = ["32*n", "32*n", "32*n"]
        made["inference"]["network_def"] = definition
        made["inference"]["inferer"] = {"_target_": "SimpleInferer"}
        made["inference"].pop("displayable_configs")
        saver = {"_target_": "ClassificationSaver", "output_dir": "@output_dir", "filename": "scores.csv"}
        saver["output_transform"] = "$monai.handlers.from_engine('pred')"
        made["inference"]["handlers"].append(saver)
        delete = {"_target_": "DeleteItemsd", "keys": ["image", "image_meta_dict"]}
        scores = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
        made["inference"]["postprocessing"]["transforms"] = [scores, delete] if cured else [scores]
        made.pop("train")
        made.pop("evaluate")

    network = ResNet(**{key: value for key, value in definition.items() if key != "_target_"})
    return write_bundle(folder, change, "blob_ct_classification", network)
