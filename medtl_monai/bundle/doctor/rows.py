"""The rows of the bundle contract: stable names, what each says, and what looking at it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["static", "build", "run", "sum"]


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        title: what a bundle in order does.
        stage: ``static`` reads files alone, ``build`` makes objects of the bundle in a process of its own, ``run``
            runs the bundle's commands, ``sum`` follows from other rows.
        optional: only looked at when it is named.
    """

    title: str
    stage: Stage = "static"
    optional: bool = False


ROWS: dict[str, Row] = {
    "LINT": Row("Nothing in the bundle is dangerous to run (medtl lint)"),
    "L1": Row("LICENSE, metadata, inference configuration and weights are there"),
    "L2": Row("The name tells the task, as MONAI Label reads it"),
    "L3": Row("Configurations are JSON files with the names that tools look for"),
    "L4": Row("inference.json and train.json are complete by themselves"),
    "L5": Row("model.pt is read with weights_only, holds tensors, has the shortest name", "build"),
    "L6": Row("model.ts is an archive named like its file"),
    "L7": Row("No Python code, or only in the package scripts, and not needed by initialize"),
    "L8": Row("Files to fetch are described and here; large files are fetched"),
    "L9": Row("logging.conf holds classes of logging and plain arguments"),
    "D1": Row("metadata names a schema of MONAI"),
    "D2": Row("metadata has the keys that the schema requires, of the types it requires"),
    "D3": Row("Inputs and outputs have every key of a tensor"),
    "D4": Row("name, and a changelog with this version"),
    "D5": Row("The first input is image, the first output pred"),
    "D6": Row("channel_def names every channel, by its number"),
    "D7": Row("The type of pred is that of the task"),
    "D8": Row("The network takes the smallest shape that metadata declares", "build"),
    "D9": Row("Versions are exact, installed, and fit together"),
    "D10": Row("No configuration reads metadata through _meta_"),
    "D11": Row("modality and organ are told"),
    "K1": Row("Preprocessing stands MONAI Label's image_path, and keeps it", "build"),
    "K2": Row("No CheckpointLoader with strict_shape false: it loads nothing, silently"),
    "K3": Row("Weights are a flat state dict", "build"),
    "K4": Row("initialize loads no weights"),
    "K5": Row("A classifier survives MONAI Label's postprocessing", "build"),
    "K6": Row("The network can be scripted", "build"),
    "K10": Row("check_properties finds nothing, and does not fall", "build"),
    "K11": Row("Parts of the version have one digit: the latest is found by text"),
    "K12": Row("The name has no _v: it would be cut there"),
    "K13": Row("The network has an argument dropout, which MONAI Label's scoring sets", "build"),
    "INF-IDS": Row("inference.json has the required ids"),
    "INF-DEVICE": Row("device may be a text: nothing asks for device.type"),
    "INF-CHAIN": Row("Preprocessing loads, then puts the channel first, on dictionaries"),
    "INF-POST": Row("Postprocessing of a segmentation inverts, makes one discrete channel, and saves last"),
    "INF-DISPLAY": Row("displayable_configs holds what a form can show"),
    "INF-LABEL": Row("A classifier's inference needs no label"),
    "TRAIN-IDS": Row("train.json has the required ids"),
    "TRAIN-PARENTS": Row("What MONAI Label overrides lies in mappings; handlers are mappings"),
    "EVAL-METRICS": Row("MetricsSaver names metrics that exist"),
    "NET": Row("The network gives the channels, shape and type that metadata declares", "build"),
    "WEIGHTS": Row("model.pt is of this network: every name, every shape", "build"),
    "LOAD": Row("monai.bundle.load gives the tensors of model.pt, for both workflows, from any folder", "build"),
    "CLI-META": Row("verify_metadata", "run"),
    "CLI-NET": Row("verify_net_in_out", "run"),
    "CLI-INFER": Row("run inference.json in the bundle's folder", "run"),
    "CLI-ELSEWHERE": Row("run inference.json from another folder", "run"),
    "CLI-TRAIN": Row("run train.json for one epoch", "run"),
    "CLI-EVALUATE": Row("run train.json with evaluate.json", "run"),
    "CLI-EXPORT": Row("ckpt_export gives a TorchScript equal to the network", "run"),
    "CLI-ONNX": Row("onnx_export", "run", optional=True),
    "CLI-MULTI": Row("training in several processes", "run", optional=True),
    "CLI-TRT": Row("TensorRT", "run", optional=True),
    "LABEL-INFER": Row("MONAI Label's inference gives the mask of the command line", "run"),
    "LABEL-TRAIN": Row("MONAI Label's training trains and saves", "run"),
    "DEPLOY": Row("MONAI Deploy's bundle operator can read and run the TorchScript", "run"),
    "OFFLINE": Row("Two runs without network give the same bytes", "run"),
    "ZOO": Row("The checks of the model zoo's CI", "sum"),
}
