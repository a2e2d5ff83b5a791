"""Rows that make objects of the bundle: its network, transforms, workflows, weights. Called in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, load

from medtl_monai.bundle.doctor.outcome import Outcome, Problem, failed, judged, not_applicable, not_run
from medtl_monai.bundle.doctor.shapes import shape_of
from medtl_monai.bundle.doctor.subject import Subject

SEED = 0
_SHOWN = 3  # names in a message


def parser_of(subject: Subject, stem: str = "inference") -> ConfigParser:
    """A configuration of the bundle as MONAI reads it, on the CPU, with the bundle's root."""
    parser = ConfigParser()
    parser.read_config(str(subject.folder / "configs" / f"{stem}.json"))
    parser.read_meta(str(subject.folder / "configs" / "metadata.json"))
    parser["bundle_root"] = str(subject.folder)
    parser["device"] = "cpu"
    return parser


def network_of(subject: Subject) -> torch.nn.Module:
    """``network_def`` with initial weights of one seed, in evaluation mode."""
    torch.manual_seed(SEED)
    network = parser_of(subject).get_parsed_content("network_def")
    return network.eval()


def build(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """Whether the network can be built at all."""
    network_of(subject)
    return judged([])


def random_weights(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """Write initial weights where the bundle has none, so that commands can run."""
    folder = subject.folder / "models"
    folder.mkdir(exist_ok=True)
    torch.save(network_of(subject).state_dict(), folder / "model.pt")
    return judged([])


def unwrapped(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, taken out of a surrounding mapping."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    inner = [content[key] for key in ("model", "state_dict", "network") if isinstance(content.get(key), Mapping)]
    return inner[0] if inner else content


def _forward(network: torch.nn.Module, channels: int, shape: tuple[int, ...]) -> Any:
    with torch.no_grad():
        return network(torch.rand(1, channels, *shape, generator=torch.Generator().manual_seed(SEED)))


def smallest_shape(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """D8: raises what the network raises."""
    _forward(network_of(subject), subject.channels("inputs"), subject.shape())
    return judged([])


def larger_shape(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """Whether the network takes the declared shape at some ``n``; raises what it raises."""
    _forward(network_of(subject), subject.channels("inputs"), subject.shape(n=data["n"]))
    return judged([])


def declared_output(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """NET: channels, spatial shape and type of what the network gives for the declared shape."""
    pred, n = subject.tensor("outputs"), int(data["n"])
    given = _forward(network_of(subject), subject.channels("inputs"), subject.shape(n=n))
    file, cure = "configs/metadata.json", "correct network_data_format#outputs#pred, or the network"
    if not isinstance(given, torch.Tensor):
        return failed(f"the network gives {type(given).__name__}, not one tensor", "give one tensor", file)
    found = []
    if given.shape[1] != pred.get("num_channels"):
        found.append(f"the network gives {given.shape[1]} channels, pred declares {pred.get('num_channels')}")
    if str(given.dtype) != f"torch.{pred.get('dtype')}":
        found.append(f"the network gives {given.dtype}, pred declares {pred.get('dtype')}")
    declared = shape_of(pred.get("spatial_shape") or [], n=n)
    flat = tuple(given.shape) if given.ndim == 2 else tuple(given.shape[2:])
    if flat != declared:
        found.append(f"the network gives the shape {flat}, pred declares {declared}")
    return judged(Problem(text, cure, file) for text in found)


def scripted(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K6: raises what torch raises."""
    torch.jit.script(network_of(subject))
    return judged([])


def with_dropout(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K13: builds the network as MONAI Label's scoring does; raises what that raises."""
    parser = parser_of(subject)
    parser.get("network_def")["dropout"] = 0.2
    parser.get_parsed_content("network_def")
    return judged([])


def preprocess(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """Whether preprocessing takes a synthetic image at all."""
    parser_of(subject).get_parsed_content("preprocessing")({"image": data["image"]})
    return judged([])


def preprocess_with_path(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K1: preprocessing of what MONAI Label hands over."""
    given = {"image": data["image"], "image_path": data["image"]}
    result = parser_of(subject).get_parsed_content("preprocessing")(given)
    if result.get("image_path") != data["image"]:
        message = "image_path is gone after preprocessing: requests without result_extension fail"
        return failed(message, "copy it to another key before it is deleted, and back", "configs/inference.json")
    return judged([])


def readable_weights(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """L5: raises what torch raises if ``weights_only`` cannot read the file."""
    content = torch.load(subject.folder / "models" / "model.pt", map_location="cpu", weights_only=True)
    file, problems = "models/model.pt", []
    if not isinstance(content, Mapping):
        return failed(f"it holds {type(content).__name__}", "save the state dict", file)
    inner = [one for value in content.values() for one in (value.values() if isinstance(value, Mapping) else [value])]
    others = sorted({type(one).__name__ for one in inner if not isinstance(one, torch.Tensor)})
    if others:
        problems.append(Problem(f"it holds {', '.join(others)} besides tensors", "save the state dict alone", file))
    lengths = {path.name: len(path.name) for path in (subject.folder / "models").glob("*.pt")}
    shorter = [name for name, length in lengths.items() if length <= len("model.pt") and name != "model.pt"]
    problems += [
        Problem(f"{name} is as short: MONAI Label may take it", "give it a longer name", file) for name in shorter
    ]
    return judged(problems, f"sha256 {data['sha256']}")


def flat_weights(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K3."""
    content = torch.load(subject.folder / "models" / "model.pt", map_location="cpu", weights_only=True)
    nested = (
        [key for key, value in content.items() if isinstance(value, Mapping)] if isinstance(content, Mapping) else []
    )
    if nested:
        message = f"the state dict is under {', '.join(nested)}: load() returns a random network, without a word"
        return failed(
            message, "save the state dict itself (CheckpointSaver: one object in save_dict)", "models/model.pt"
        )
    return judged([])


def own_weights(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """WEIGHTS."""
    given = {name: tuple(value.shape) for name, value in unwrapped(subject.folder / "models" / "model.pt").items()}
    wanted = {name: tuple(value.shape) for name, value in network_of(subject).state_dict().items()}
    file, cure = "models/model.pt", "save the weights of network_def; MONAI Label would load the rest silently"
    groups = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [name for name in wanted if name in given and given[name] != wanted[name]],
    }
    return judged(
        Problem(f"{len(names)} of {len(wanted)} tensors {what}: {', '.join(names[:_SHOWN])}", cure, file)
        for what, names in groups.items()
        if names
    )


def loaded(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """LOAD: raises what ``monai.bundle.load`` raises."""
    file = unwrapped(subject.folder / "models" / "model.pt")
    problems = []
    for kind in ("inference", "train"):
        if not subject.has(f"configs/{kind}.json"):
            continue
        network = load(subject.name, bundle_dir=str(subject.folder.parent), workflow_type=kind, source="github")
        if not isinstance(network, torch.nn.Module):
            problems.append(
                Problem(f"load() for {kind} gives no network", "define network_def", f"configs/{kind}.json")
            )
            continue
        found = network.state_dict()
        other = [name for name in file if name not in found or not torch.equal(found[name].cpu(), file[name])]
        if other or len(found) > len(file):
            message = f"load() for {kind}: {len(other)} of {len(file)} tensors are not those of model.pt"
            problems.append(Problem(message, "ship a flat state dict of network_def (K3)", "models/model.pt"))
    return judged(problems)


def properties(subject: Subject, data: Mapping[str, Any]) -> Outcome:
    """K10: raises what ``check_properties`` raises."""
    problems, kinds = [], [kind for kind in ("inference", "train") if subject.has(f"configs/{kind}.json")]
    if not kinds:
        return not_applicable("no configuration")
    for kind in kinds:
        workflow = ConfigWorkflow(
            config_file=str(subject.folder / "configs" / f"{kind}.json"),
            meta_file=str(subject.folder / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type=kind,
            bundle_root=str(subject.folder),
            **data[kind],
        )
        workflow.initialize()
        missing = workflow.check_properties()
        if missing is None:
            return not_run("MONAI looks for no properties of such a workflow")
        cure = "use MONAI's names, and refer to them by @name"
        problems += [Problem(f"property {name}", cure, f"configs/{kind}.json") for name in missing]
    return judged(problems)
