"""MONAI Label's inference and training of a bundle: with Label itself if it is here, else done as it does them.

What Label does was read in its tasks for bundles (0.8.5): it reads one file, sets ``bundle_root`` and ``device`` (a
text), hands over ``image_path``, takes SaveImaged out, adds a step that resizes ``pred`` to the image, and trains with
``run_id: ""`` from the present model.pt. Called in a child process.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser, run
from monai.transforms import Compose, Resize, SaveImaged

from medtl_monai.bundle.doctor.objects import unwrapped
from medtl_monai.bundle.doctor.outcome import Outcome, Problem, failed, judged
from medtl_monai.bundle.doctor.subject import Subject

EMULATED = "without MONAI Label: what it does to the configuration was done here"
DRIVEN = "by MONAI Label's own task"
_CLASSES_PER_VOXEL = 255


def has_label() -> bool:
    """Whether MONAI Label can be imported."""
    return importlib.util.find_spec("monailabel") is not None


def inference(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """LABEL-INFER: a mask of whole numbers on the image's grid, equal to ``data["mask"]`` of the command line."""
    if has_label():
        mask = _mask_of_label(subject, data["image"])
        note = DRIVEN
    else:
        mask = np.asarray(_emulated(subject, data["image"])["pred"])
        note = EMULATED
    if mask.min() == mask.max():
        note += "; the mask has one value only, so whether it is turned over is not shown"
    return judged(_wrong_mask(mask, data["image"], data["mask"], subject.values("inference")), note)


def classification(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K5: raises what Label's last step raises on class scores."""
    if has_label():
        _answer_of_label(subject, data["image"])
        return judged([], DRIVEN)
    pred = np.asarray(_emulated(subject, data["image"])["pred"])
    classes = subject.channels("outputs")
    if pred.size != classes:
        return failed(
            f"pred has {pred.size} values, not {classes}", "give one score per class", "configs/inference.json"
        )
    return judged([], EMULATED)


def _emulated(subject: Subject, image: str) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(subject.folder / "configs" / "inference.json"))
    parser.config.update({"bundle_root": str(subject.folder), "device": "cpu"})
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(unwrapped(subject.folder / "models" / "model.pt"), strict=False)
    given: dict[str, Any] = {"image": image, "image_path": image, "device": "cpu"}
    for step in _steps(parser, "preprocessing"):
        given = step(given)
    inputs = given["image"] if torch.is_tensor(given["image"]) else torch.from_numpy(given["image"])
    inferer = parser.get_parsed_content("inferer")
    with torch.no_grad():
        given["pred"] = inferer(inputs[None], network)[0]
    for step in _steps(parser, "postprocessing"):
        if not isinstance(step, SaveImaged):
            given = step(given)
    return _restored(given)


def _steps(parser: ConfigParser, name: str) -> list[Any]:
    found = parser.get_parsed_content(name)
    return list(found.transforms) if isinstance(found, Compose) else list(found)


def _restored(given: dict[str, Any]) -> dict[str, Any]:
    """``pred`` in the size of the image, by nearest voxels; raises, as Label does, where sizes cannot be compared."""
    result, image = given["pred"], given.get("image")
    meta = getattr(image, "meta", None) or given.get("image_meta_dict", {})
    size = tuple(result.shape[1:])
    wanted = meta.get("spatial_shape", size)[-len(size) :]
    if np.any(np.not_equal(size, wanted)):
        result = Resize(spatial_size=[int(one) for one in wanted], mode="nearest")(result)
    squeezed = len(result.shape) > 3 and result.shape[0] == 1
    return {**given, "pred": result[0] if squeezed else result}


def _wrong_mask(mask: np.ndarray, image: str, written: str, values: Sequence[int]) -> list[Problem]:
    file, remedy = "configs/inference.json", "end postprocessing with Invertd, AsDiscreted (argmax), SaveImaged"
    size = nib.load(image).shape[:3] if image.endswith(".nii.gz") else None
    mask = mask[0] if size is None and mask.ndim == 3 and mask.shape[0] == 1 else mask
    if size is not None and mask.shape != size:
        return [Problem(f"the mask has the shape {mask.shape}, the image {size}", remedy, file)]
    if np.any(mask != np.round(mask)) or mask.min() < 0 or mask.max() > _CLASSES_PER_VOXEL:
        return [Problem("the mask does not hold whole numbers up to 255", remedy, file)]
    different = _least_difference(mask, image, written, values) if written and size is not None else 0.0
    if different:
        message = f"{different:.1%} of the voxels differ from the mask of the command line: is it turned over?"
        return [Problem(message, remedy, file)]
    return []


def _least_difference(mask: np.ndarray, image: str, written: str, values: Sequence[int]) -> float:
    """Of the mask as it is, and of its channels as label values: the saver, which Label takes out, may renumber."""
    found = _difference(mask, image, written)
    if not found or mask.max() >= len(values):
        return found
    return min(found, _difference(np.asarray(values)[mask.astype(np.int64)], image, written))


def _difference(mask: np.ndarray, image: str, written: str) -> float:
    """Share of voxels, in space, that differ: Label gives the mask the image's affine, the command line its own."""
    here = nib.as_closest_canonical(nib.Nifti1Image(mask.astype(np.uint16), nib.load(image).affine))
    there = nib.as_closest_canonical(nib.load(written))
    if here.shape != there.shape:
        return 1.0
    return float(np.mean(np.asarray(here.dataobj) != np.asarray(there.dataobj)))


def _answer_of_label(subject: Subject, image: str) -> tuple[Any, Any]:
    from monailabel.tasks.infer.bundle import BundleInferTask

    task = BundleInferTask(str(subject.folder), conf={})
    if not task.is_valid():
        raise ValueError("MONAI Label takes no inference of this bundle")
    settings = {name: value for name, value in task.config().items() if name != "model_filename"}
    request = {"model": subject.name, "image": image, "result_extension": ".nii.gz", "result_dtype": "uint8"}
    return task({**settings, **request, "device": "cpu"})


def _mask_of_label(subject: Subject, image: str) -> np.ndarray:
    file, _ = _answer_of_label(subject, image)
    return np.asarray(nib.load(str(file)).dataobj)


class _Datastore:
    """The part of Label's datastore that training asks for: images with labels."""

    def __init__(self, pairs: list[dict[str, str]]) -> None:
        self.pairs = pairs

    def datalist(self) -> list[dict[str, str]]:
        """Pairs of paths."""
        return self.pairs


def training(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """LABEL-TRAIN: one epoch from the present model, and a new file of weights."""
    start = time.time()
    if has_label():
        _train_by_label(subject, data)
    else:
        _train_as_label(subject, data)
    written = [path for path in (subject.folder / "models").rglob("*.pt") if path.stat().st_mtime >= start - 1]
    if not written:
        return failed("training wrote no weights", "save them in a handler of validate or train", "configs/train.json")
    return judged([], DRIVEN if has_label() else EMULATED)


def _train_by_label(subject: Subject, data: Mapping[str, Any]) -> None:
    from monailabel.tasks.train.bundle import BundleTrainTask

    task = BundleTrainTask(str(subject.folder), conf={})
    if not task.is_valid():
        raise ValueError("MONAI Label takes no training of this bundle")
    request = {"model": subject.name, "device": "cpu", "pretrained": True, "max_epochs": 1, "val_split": 0.3}
    more = {"multi_gpu": False, "run_id": "", "model_filename": "model.pt", "tracking": "None", **_shown(subject)}
    task({**request, **more}, _Datastore([*data["training"], *data["validation"]]))


def _shown(subject: Subject) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(subject.folder / "configs" / "train.json"))
    return dict(parser.get_parsed_content("displayable_configs")) if "displayable_configs" in parser else {}


def _train_as_label(subject: Subject, data: Mapping[str, Any]) -> None:
    path = subject.folder / "configs" / "train.json"
    handlers = [dict(one) for one in ConfigParser.load_config_file(str(path)).get("train", {}).get("handlers", [])]
    if not any(one.get("_target_") == "CheckpointLoader" for one in handlers):
        loader = {"_target_": "CheckpointLoader", "load_dict": {"model": "$@network"}, "strict": False}
        handlers.insert(0, {**loader, "load_path": str(subject.folder / "models" / "model.pt")})
    overrides = {
        "bundle_root": str(subject.folder),
        "train#trainer#max_epochs": 1,
        "train#dataset#data": data["training"],
        "validate#dataset#data": data["validation"],
        "train#handlers": handlers,
        "device": "cpu",
    }
    sys.path.insert(0, str(subject.folder))
    metadata = str(subject.folder / "configs" / "metadata.json")
    run(run_id="", init_id=None, final_id=None, meta_file=metadata, config_file=str(path), **overrides)
