"""An exported bundle: the network as TorchScript, and the metadata and the configuration that came with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from monai.bundle import ConfigParser

from medtl_monai.errors import ConfigError, FormatError
from medtl_monai.io.hashing import sha256_of

Task = Literal["segmentation", "classification"]
IDS = ("preprocessing", "postprocessing", "inferer", "device")
EXTRA = ("metadata.json", "inference.json")
EXPORT = (
    "python -m monai.bundle ckpt_export --net_id network_def --filepath models/model.ts --ckpt_file models/model.pt "
    "--meta_file configs/metadata.json --config_file configs/inference.json"
)


@dataclass(frozen=True)
class Exported:
    """What an application runs.

    Attributes:
        network: TorchScript in evaluation mode, on `device`.
        parser: the inference configuration, not yet resolved.
        device: where it computes, by the configuration.
        task: by the metadata.
        name, version: of the bundle.
        modality: DICOM modality of its images ("CT", "MR"), or "" where the metadata do not say it.
        classes: what its output means, value -> name, ascending from 0.
        sha256: of the TorchScript file.
    """

    network: torch.jit.ScriptModule
    parser: ConfigParser
    device: torch.device
    task: Task
    name: str
    version: str
    modality: str
    classes: Mapping[int, str]
    sha256: str


def load_exported(model: Path, bundle: Path | None = None) -> Exported:
    """Load a TorchScript file; metadata and configuration are those inside it, or those of a bundle folder if given.

    Configurations can run code, and so can TorchScript: load only what you trust.

    Raises:
        FormatError: no TorchScript, or without metadata and configuration, or these are not JSON.
        ConfigError: an id that inference needs is absent, or the metadata do not tell task and classes.
    """
    network, extra = _network(model)
    source = model if bundle is None else bundle / "configs"
    if bundle is not None:
        extra = {name: _text(bundle / "configs" / name) for name in EXTRA}
    absent = [name for name, content in extra.items() if not content]
    if absent:
        raise FormatError(
            "no metadata or configuration inside",
            path=model,
            got=f"without {', '.join(absent)}",
            remedy=f"give the bundle folder, or export again: {EXPORT}",
        )
    metadata, config = (_json(extra[name], name, source) for name in EXTRA)
    missing = [name for name in IDS if name not in config]
    if missing:
        raise ConfigError("the configuration lacks ids", path=source, expected=", ".join(IDS), got=f"no {missing}")
    parser = ConfigParser(config)
    if bundle is not None:
        parser["bundle_root"] = str(bundle)
    device = torch.device(parser.get_parsed_content("device"))
    return Exported(
        network.to(device),
        parser,
        device,
        _task(metadata, source),
        str(metadata.get("name", "")) or model.stem,
        str(metadata.get("version", "")),
        _modality(metadata),
        _classes(metadata, source),
        sha256_of(model),
    )


def _network(model: Path) -> tuple[torch.jit.ScriptModule, dict[str, str]]:
    expected = f"TorchScript, as written by: {EXPORT}"
    if not model.is_file():
        raise FormatError("no such model file", path=model, expected=expected)
    extra: dict[str, Any] = dict.fromkeys(EXTRA, "")
    try:
        network = torch.jit.load(str(model), map_location="cpu", _extra_files=extra).eval()
    except RuntimeError as error:
        raise FormatError("cannot be loaded", path=model, expected=expected, got=str(error).splitlines()[0]) from error
    return network, {name: text.decode() if isinstance(text, bytes) else text for name, text in extra.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "give the folder that holds configs/"
        raise FormatError("not a bundle folder", path=path, got=error.strerror, remedy=remedy) from error


def _json(text: str, name: str, source: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{name} is not JSON", path=source, got=str(error)) from error
    if not isinstance(content, dict):
        raise FormatError(f"{name} holds no object", path=source, got=type(content).__name__)
    return content


def _tensor(metadata: Mapping[str, Any], side: str, name: str) -> Mapping[str, Any]:
    found = metadata
    for key in ("network_data_format", side, name):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _task(metadata: Mapping[str, Any], source: Path) -> Task:
    pred = _tensor(metadata, "outputs", "pred")
    if pred.get("type") == "probabilities" or pred.get("format") == "classes":
        return "classification"
    if pred.get("format") == "segmentation":
        return "segmentation"
    expected = "outputs.pred with format segmentation or classes"
    raise ConfigError("the metadata tell no task", path=source, expected=expected, got=pred.get("format"))


def _modality(metadata: Mapping[str, Any]) -> str:
    named = str(_tensor(metadata, "inputs", "image").get("modality", "")).upper()
    return "MR" if named == "MRI" else named if named in ("CT", "MR") else ""


def _classes(metadata: Mapping[str, Any], source: Path) -> dict[int, str]:
    given = _tensor(metadata, "outputs", "pred").get("channel_def")
    names = given if isinstance(given, dict) else {}
    if len(names) < 2 or set(names) != {str(value) for value in range(len(names))}:
        expected = 'channel_def of outputs.pred as {"0": name, "1": name, ...}'
        raise ConfigError("the metadata name no classes", path=source, expected=expected, got=given)
    if len(set(names.values())) < len(names):
        raise ConfigError("two classes have one name", path=source, got=given)
    return {value: str(names[str(value)]) for value in range(len(names))}
