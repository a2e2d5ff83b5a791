"""Defects, one planted in the clean bundle each: how it gets in, and the rows that have to catch it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets import UNet
from zoo_bundles import NAME, UNET, Change, Configs, write_bundle, write_classifier


@dataclass(frozen=True)
class Defect:
    """A defect.

    Attributes:
        name: of the test.
        write: makes the bundle in a folder.
        caught: the rows that fail, no others.
        run: rows that need a process and are looked at besides the static ones.
        says: part of what one of the rows says.
    """

    name: str
    write: Callable[[Path], Path]
    caught: str
    run: str = ""
    says: str = ""


def planted(name: str, change: Change, caught: str, run: str = "", says: str = "", folder: str = NAME) -> Defect:
    return Defect(name, lambda path: write_bundle(path, change, folder), caught, run, says)


def put(where: str, value: Any) -> Change:
    """Set ``config#id#...`` to a value."""

    def change(bundle: Path, made: Configs) -> None:
        *parents, last = where.split("|" if "|" in where else "#")
        node: Any = made
        for part in parents:
            node = node[int(part) if isinstance(node, list) else part]
        node[int(last) if isinstance(node, list) else last] = value

    return change


def drop(where: str) -> Change:
    """Take ``config#id#...`` away."""

    def change(bundle: Path, made: Configs) -> None:
        *parents, last = where.split("|" if "|" in where else "#")
        node: Any = made
        for part in parents:
            node = node[int(part) if isinstance(node, list) else part]
        del node[int(last) if isinstance(node, list) else last]

    return change


def also(*changes: Change) -> Change:
    """Several changes."""

    def change(bundle: Path, made: Configs) -> None:
        for one in changes:
            one(bundle, made)

    return change


def file(name: str, content: str | bytes) -> Change:
    """Write a file into the bundle."""

    def change(bundle: Path, made: Configs) -> None:
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def step(kind: str, targets: tuple[str, ...]) -> Change:
    """Take transforms out of the inference, by their names."""

    def change(bundle: Path, made: Configs) -> None:
        steps = made["inference"][kind]["transforms"]
        steps[:] = [one for one in steps if one["_target_"] not in targets]

    return change


def weights(make: Callable[[Path, dict[str, torch.Tensor]], object]) -> Change:
    """Save something else in the place of the state dict."""

    def change(bundle: Path, made: Configs) -> None:
        path = bundle / "models" / "model.pt"
        torch.save(make(path, torch.load(path, weights_only=True)), path)

    return change


def other_network(path: Path, content: dict[str, torch.Tensor]) -> object:
    return UNet(3, 1, 2, channels=(6, 8), strides=(2,)).state_dict()


def yaml_only(bundle: Path, made: Configs) -> None:
    (bundle / "configs" / "inference.yaml").write_text("network_def: {_target_: UNet}\n")
    made.pop("inference")


def renamed_script(bundle: Path, made: Configs) -> None:
    with zipfile.ZipFile(bundle / "models" / "model.ts", "w") as archive:
        archive.writestr("renamed/data.pkl", b"\x80\x02}.")


def no_weights(bundle: Path, made: Configs) -> None:
    shutil.rmtree(bundle / "models")


PRED, POST = "metadata#network_data_format#outputs#pred", "inference#postprocessing#transforms"
SHAPE = "metadata#network_data_format#inputs#image#spatial_shape"
LARGE = "large_files:\n- path: models/model.pt\n  url: https://example.org/a\n  hash_val: '00'\n  hash_type: md5\n"
DEEP = {**UNET, "channels": [4, 4, 4, 4, 4], "strides": [2, 2, 2, 2]}
SAVE = {"_target_": "CheckpointLoader", "load_path": "models/model.pt", "load_dict": {"model": "@network"}}
INLINE = {
    "val_mean_dice": {"_target_": "MeanDice", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
}
FOREIGN = "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nhandlers=h\n"
FOREIGN += "[handler_h]\nclass=os.system\nargs=('true',)\n"
NOISE = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0, "std": 1.0}

STATIC = (
    planted("no licence", lambda bundle, made: (bundle / "LICENSE").unlink(), "L1"),
    planted("no task word", put("metadata#name", "x"), "L2", folder="blobs"),
    planted("yaml", yaml_only, "L1 L3", says="inference.yaml"),
    planted("reference to nothing", put("inference#dataloader#dataset", "@datset"), "L4", says="datset"),
    planted("renamed script", renamed_script, "L6"),
    planted("scripts in use", also(file("scripts/net.py", "x = 1\n"), put("inference#x", "$scripts.net.x")), "LINT L7"),
    planted("code elsewhere", file("net.py", "x = 1\n"), "LINT L7", says="outside of the package scripts"),
    planted("announced weights", also(no_weights, file("large_files.yml", LARGE)), "L8", says="models/model.pt"),
    planted("foreign logging class", file("configs/logging.conf", FOREIGN), "LINT L9"),
    planted("schema", put("metadata#schema", "https://example.org/schema.json"), "D1"),
    planted("required key", drop("metadata#numpy_version"), "D2"),
    planted("authors as a list", put("metadata#authors", ["A"]), "D2", says="authors is list"),
    planted("tensor key", drop(f"{PRED}#value_range"), "D3"),
    planted("shape of letters", put(SHAPE, ["8*k", "8*n", "8*n"]), "D3", says="'k' is no expression"),
    planted("changelog", put("metadata#changelog", {"0.0.9": "before"}), "D4"),
    planted("output name", put("metadata#network_data_format#outputs", {"mask": {}}), "D3 D5 D6 D7"),
    planted("channel names", put(f"{PRED}#channel_def", {"0": "background", "2": "blob"}), "D6"),
    planted("background twice", put(f"{PRED}#channel_def", {"0": "air", "1": "Background"}), "D6"),
    planted("output type", put(f"{PRED}#type", "probabilities"), "D7"),
    planted("unpinned", put("metadata#required_packages_version", {"nibabel": ">=5"}), "D9", says="no exact version"),
    planted("not installed", put("metadata#required_packages_version", {"no-such-package": "1.0"}), "D9"),
    planted("versions that exclude each other", put("metadata#numpy_version", "1.0.0"), "D9", says="numpy"),
    planted("metadata in a configuration", put("inference#x", "@_meta_#version"), "D10"),
    planted("no organ", drop("metadata#organ"), "D11"),
    planted("silent loader", put("inference#handlers#0#strict_shape", False), "K2"),
    planted(
        "loading at first", also(put("inference#load", SAVE), put("inference#initialize", ["$@load(@evaluator)"])), "K4"
    ),
    planted("two digits", also(put("metadata#version", "0.1.10"), put("metadata#changelog", {"0.1.10": "x"})), "K11"),
    planted("cut name", also(), "K12", folder="ct_vertebra_segmentation"),
    planted("no output_dir", also(drop("inference#output_dir"), drop(f"{POST}#3#output_dir")), "INF-IDS"),
    planted("device type", put("inference#amp", "$@device.type == 'cuda'"), "INF-DEVICE"),
    planted("no channel first", step("preprocessing", ("EnsureChannelFirstd",)), "INF-CHAIN"),
    planted("no inversion", step("postprocessing", ("Invertd",)), "INF-POST", says="no Invertd"),
    planted("no discrete map", step("postprocessing", ("AsDiscreted",)), "INF-POST", says="no AsDiscreted"),
    planted("numbers to choose from", put("inference#displayable_configs#overlap", [0.1, 0.2]), "INF-DISPLAY"),
    planted("no trainer data", drop("train#train#dataset#data"), "TRAIN-PARENTS"),
    planted("no epochs", drop("train#train#trainer#max_epochs"), "TRAIN-IDS"),
    planted("handler by reference", put("train#train#handlers#0", "@loss"), "TRAIN-PARENTS"),
    planted(
        "metric of no name", put("evaluate|validate#handlers|1|metrics", ["val_acc"]), "EVAL-METRICS", says="val_acc"
    ),
)
BUILT = (
    planted("path of Label", step("preprocessing", ("DeleteItemsd",)), "K1", "K1", "'str' object has no attribute"),
    planted("nested weights", weights(lambda path, content: {"model": content}), "K3 LOAD", "L5 K3 WEIGHTS LOAD"),
    planted("weights and a number", weights(lambda path, c: {**c, "epoch": 3}), "L5", "L5 K3", "int besides tensors"),
    planted(
        "weights and a scalar of numpy", weights(lambda path, c: {**c, "e": np.float64(3)}), "L5", "L5 K3", "Weights"
    ),
    planted("weights of another", weights(other_network), "WEIGHTS", "L5 WEIGHTS", "of another shape"),
    planted("inline metric", put("train#validate#evaluator#key_val_metric", INLINE), "K10", "K10"),
    planted("too small at n=1", put("inference#network_def", DEEP), "D8", "D8 NET", "only n="),
    planted("channels", put(f"{PRED}#num_channels", 3), "D6 NET", "D8 NET", "gives 2 channels"),
    planted("network fails", put("inference#network_def#in_channels", 2), "NET", "D8 NET"),
    Defect("no script", lambda path: write_classifier(path, shortcut="A"), "K6", "K6", "partial"),
    Defect("no dropout", write_classifier, "K13", "K13", "dropout"),
    Defect("scores in Label", lambda path: write_classifier(path, cured=False), "K5", "K5", "(0,) (3,)"),
)
RUN = (
    planted("turned over in Label", step("postprocessing", ("Invertd",)), "INF-POST LABEL-INFER", "LABEL-INFER"),
    planted(
        "path of weights", put("inference#handlers#0#load_path", "models/model.pt"), "CLI-ELSEWHERE", "CLI-ELSEWHERE"
    ),
    planted(
        "chance",
        also(put("inference#preprocessing#transforms#6", NOISE), put("inference#initialize", [])),
        "OFFLINE",
        "OFFLINE",
    ),
    planted("nothing saved", put("train#validate#handlers", []), "CLI-TRAIN", "CLI-TRAIN", "wrote no weights"),
)
