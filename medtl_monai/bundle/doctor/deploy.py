"""Rows on the exported TorchScript: equal to the network, and as MONAI Deploy's operator reads it. In a child."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

from medtl_monai.bundle.doctor.objects import network_of, unwrapped
from medtl_monai.bundle.doctor.outcome import Outcome, Problem, failed, judged
from medtl_monai.bundle.doctor.subject import Subject

_TOLERANCE = 1e-4
_IDS = ("preprocessing", "postprocessing", "inferer", "device")
_EXTRA = ("metadata.json", "inference.json")
FILE = "configs/inference.json"


def equal_to_eager(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """CLI-EXPORT: the exported network against ``network_def`` with the same weights, on noise."""
    network = network_of(subject)
    network.load_state_dict(unwrapped(subject.folder / "models" / "model.pt"))
    script = torch.jit.load(data["script"]).eval()
    image = torch.rand(1, subject.channels("inputs"), *subject.shape(n=data["n"]))
    with torch.no_grad():
        difference = float((script(image) - network(image)).abs().max())
    if not difference <= _TOLERANCE:
        return failed(f"outputs differ by {difference:.2g}", "export the network in evaluation mode", "models/model.ts")
    return judged([], f"largest difference {difference:.1g}")


def operator(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """DEPLOY: ids, then the chain on an image in memory; raises what the chain raises."""
    extra = {name: "" for name in _EXTRA}
    script = torch.jit.load(data["script"], _extra_files=extra).eval()
    absent = [name for name, content in extra.items() if not content]
    if absent:
        return failed(f"no {', '.join(absent)} inside", "export with ckpt_export, --meta_file and --config_file")
    parser = ConfigParser(json.loads(extra["inference.json"]))  # bundle_root stays ".": there is no bundle any more
    parser["device"] = "cpu"
    missing = [name for name in _IDS if name not in parser]
    if missing:
        return judged(Problem(f"no id {name}", "Deploy looks for just this name", FILE) for name in missing)
    given: dict[str, Any] = {"image": _in_memory(data["image"], data["hu"])}
    for step in _steps(parser, "preprocessing"):
        given = step(given)
    with torch.no_grad():
        given["pred"] = parser.get_parsed_content("inferer")(given["image"][None], script)[0]
    for step in _steps(parser, "postprocessing"):
        given = step(given)
    return _verdict(subject, np.asarray(given["pred"]))


def _steps(parser: ConfigParser, name: str) -> list[Any]:
    """The steps without those that load or save, which Deploy takes out."""
    found = parser.get_parsed_content(name)
    steps = list(found.transforms) if isinstance(found, Compose) else list(found)
    return [step for step in steps if not type(step).__name__.startswith(("LoadImage", "SaveImage"))]


def _in_memory(path: str, hu: bool) -> MetaTensor:
    """An image as Deploy hands it over, from DICOM: an array without channel, HU for CT, its affine and size."""
    if path.endswith(".nii.gz"):
        import nibabel as nib

        scan = nib.load(path)
        array, affine = np.asarray(scan.dataobj, dtype=np.float32), np.asarray(scan.affine)
    else:
        from PIL import Image

        array, affine = np.asarray(Image.open(path), dtype=np.float32), np.eye(4)
        if hu:  # a series of one slice
            array = np.where(array == 0, -1000, array - 40).astype(np.float32)[..., None]
    axes = 3 if hu or path.endswith(".nii.gz") else 2
    channel = "no_channel" if array.ndim == axes else -1
    meta = {"original_channel_dim": channel, "spatial_shape": np.array(array.shape[:axes]), "original_affine": affine}
    return MetaTensor(
        torch.from_numpy(array), affine=torch.from_numpy(affine), meta={**meta, "filename_or_obj": Path(path).name}
    )


def _verdict(subject: Subject, pred: np.ndarray) -> Outcome:
    if subject.task == "classification":
        note = "Deploy's operator would take the first score for the class: ship an operator of your own"
        return judged([], note)
    remedy = "end postprocessing with AsDiscreted (argmax): Deploy writes one channel of uint8"
    if pred.ndim not in (3, 4) or pred.shape[0] != 1:
        return failed(f"pred has the shape {pred.shape}, not one channel", remedy, FILE)
    if np.any(pred != np.round(pred)) or pred.min() < 0 or pred.max() > np.iinfo(np.uint8).max:
        return failed("pred does not hold whole numbers up to 255", remedy, FILE)
    return judged([])
