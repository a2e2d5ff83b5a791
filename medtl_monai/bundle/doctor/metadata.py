"""Rows about metadata.json: D1 to D5, D7, D9, D11."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata as installed
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from medtl_monai.bundle.doctor.outcome import Outcome, Problem, failed, judged, not_run
from medtl_monai.bundle.doctor.shapes import shape_of
from medtl_monai.bundle.doctor.subject import Subject

FILE = "configs/metadata.json"
SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
_TEXTS = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors"),
    "copyright",
)
_OPTIONAL_TEXTS = ("image_classes", "label_classes", "pred_classes", "data_type", "data_source", "intended_use")
_TENSOR: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "format": str,
    "num_channels": int,
    "spatial_shape": list,
    "dtype": str,
    "value_range": list,
}
_EXACT = re.compile(r"\d+(\.\d+)*([abc.]?(rc|post|dev)?\d+)?(\+[\w.]+)?")
_BASE = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def _line(subject: Subject, *keys: str) -> int:
    node = subject.metadata_node
    for key in keys:
        node = node.child(key) if node is not None else None
    return node.line if node is not None else 1


def problem_at(subject: Subject, message: str, remedy: str, *keys: str) -> Problem:
    """A problem of metadata.json, on the line of a key in nested mappings."""
    return Problem(message, remedy, FILE, _line(subject, *keys))


def schema_name(subject: Subject) -> Outcome:
    """D1."""
    schema = subject.metadata.get("schema")
    if isinstance(schema, str) and re.search(r"/meta_schema_\d{8}\.json$", schema):
        return judged([], "" if schema.endswith("20240725.json") else "an older schema than that of 2024-07-25")
    return judged([problem_at(subject, f"schema is {schema!r}", f"write {SCHEMA}", "schema")])


def required_keys(subject: Subject) -> Outcome:
    """D2."""
    meta = subject.metadata
    kinds: dict[str, type] = {name: str for name in (*_TEXTS, *(one for one in _OPTIONAL_TEXTS if one in meta))}
    packages = "optional_packages_version" if "2022" in str(meta.get("schema", "")) else "required_packages_version"
    kinds |= {packages: dict, "network_data_format": dict}
    kinds |= {"references": list} if "references" in meta else {}
    problems = []
    for key, kind in kinds.items():
        if key not in meta:
            problems.append(problem_at(subject, f"no key {key}", "add it: the schema requires it"))
        elif not isinstance(meta[key], kind):
            message = f"{key} is {type(meta[key]).__name__}"
            problems.append(problem_at(subject, message, f"write a {kind.__name__}", key))
    return judged(problems)


def tensor_keys(subject: Subject) -> Outcome:
    """D3, and that spatial shapes can be evaluated (a part of D8 that needs no network)."""
    formats = subject.metadata.get("network_data_format")
    if not isinstance(formats, dict):
        return failed("no network_data_format", "declare inputs and outputs", FILE)
    problems = []
    for side in ("inputs", "outputs"):
        tensors = formats.get(side)
        if not isinstance(tensors, dict) or not tensors:
            problems.append(problem_at(subject, f"no {side}", "declare them", "network_data_format"))
            continue
        for name, tensor in tensors.items():
            place = ("network_data_format", side, name)
            problems += [problem_at(subject, f"{side} {name}: {wrong}", cure, *place) for wrong, cure in _wrong(tensor)]
    return judged(problems)


def _wrong(tensor: object) -> list[tuple[str, str]]:
    if not isinstance(tensor, dict):
        return [("no mapping", "describe the tensor")]
    found = [(f"no {key}", "add it") for key in _TENSOR if key not in tensor]
    for key, kind in _TENSOR.items():
        value = tensor.get(key)
        if key in tensor and (not isinstance(value, kind) or isinstance(value, bool)):
            found.append((f"{key} is {value!r}", "see the schema of MONAI"))
    try:
        shape_of(tensor.get("spatial_shape") or [])
    except (ValueError, TypeError) as error:
        found.append((f"spatial_shape: {error}", 'write numbers or expressions such as "32*n"'))
    return found


def name_and_changelog(subject: Subject) -> Outcome:
    """D4."""
    meta, problems = subject.metadata, []
    if not meta.get("name") or not isinstance(meta.get("name"), str):
        problems.append(problem_at(subject, "no name", "add a name"))
    changelog = meta.get("changelog")
    if not isinstance(changelog, dict) or meta.get("version") not in changelog:
        message = f"changelog has no entry for version {meta.get('version')}"
        problems.append(problem_at(subject, message, "say what is new in it", "changelog"))
    return judged(problems)


def tensor_names(subject: Subject) -> Outcome:
    """D5."""
    problems = []
    for side, wanted in (("inputs", "image"), ("outputs", "pred")):
        formats = subject.metadata.get("network_data_format")
        tensors = formats.get(side) if isinstance(formats, dict) else None
        first = next(iter(tensors), None) if isinstance(tensors, dict) else None
        if first is not None and first != wanted:
            message = f"the first of {side} is {first}"
            remedy = f"call it {wanted}: MONAI Label and Deploy know no other name"
            problems.append(problem_at(subject, message, remedy, "network_data_format", side))
    return judged(problems)


def output_type(subject: Subject) -> Outcome:
    """D7."""
    if subject.task == "other":
        return not_run("the task is neither segmentation nor classification")
    wanted = {"segmentation": "image", "classification": "probabilities"}[subject.task]
    found = subject.tensor("outputs").get("type")
    if found == wanted:
        return judged([])
    place = ("network_data_format", "outputs", "pred")
    return judged([problem_at(subject, f"type of pred is {found!r}", f"a {subject.task} has {wanted}", *place)])


def modality_and_organ(subject: Subject) -> Outcome:
    """D11."""
    absent = [key for key in ("modality", "organ") if not isinstance(subject.metadata.get(key), str)]
    problems = [problem_at(subject, f"no {key}", "add it: MONAI Deploy's generator reads it") for key in absent]
    exact = subject.metadata.get("task") == "classification"
    note = "Deploy's generator writes JSON only if task is exactly 'classification'; write an operator of your own"
    return judged(problems, note if subject.task == "classification" and not exact else "")


def versions(subject: Subject) -> Outcome:
    """D9: exact numbers, installed packages, and no requirement among them that excludes another."""
    declared = declared_versions(subject.metadata)
    problems, others, here = [], [], {}
    for package, version in declared.items():
        if not isinstance(version, str) or not _EXACT.fullmatch(version):
            problems.append(Problem(f"{package} {version!r} is no exact version", "pin it: tools install ==", FILE))
            continue
        try:
            here[package] = installed.version(package)
        except installed.PackageNotFoundError:
            problems.append(Problem(f"{package} is not installed", f"pip install {package}=={version}", FILE))
            continue
        if not same_version(here[package], version):
            others.append(f"{package} {version} (here {here[package]})")
    problems += [
        Problem(message, "choose versions that resolve together", FILE) for message in conflicts(declared, here)
    ]
    if others and not problems:
        return not_run(f"whether they resolve together is not known, for others are installed: {', '.join(others)}")
    return judged(problems)


def declared_versions(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Every package that metadata pin: the three of the base, and the required (or optional) ones."""
    found = {package: meta[key] for package, key in _BASE.items() if key in meta}
    for key in ("required_packages_version", "optional_packages_version"):
        more = meta.get(key)
        found |= more if isinstance(more, dict) else {}
    return found


def same_version(first: str, second: str) -> bool:
    """Whether two versions are equal, local parts such as ``+cpu`` aside."""
    try:
        return Version(Version(first).public) == Version(Version(second).public)
    except InvalidVersion:
        return False


def conflicts(declared: Mapping[str, Any], here: Mapping[str, str]) -> list[str]:
    """Requirements of installed packages (of just the declared version) that exclude another declared version."""
    found = []
    for package in (one for one in here if same_version(here[one], declared[one])):
        for text in installed.requires(package) or ():
            need = Requirement(text)
            version = declared.get(need.name) if need.marker is None or need.marker.evaluate() else None
            if isinstance(version, str) and _EXACT.fullmatch(version) and version not in need.specifier:
                found.append(f"{package} {declared[package]} needs {need.name}{need.specifier}, not {version}")
    return found
