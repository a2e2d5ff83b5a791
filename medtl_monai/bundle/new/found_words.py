"""What was found in the data, and what was decided, in words."""

from __future__ import annotations

import json
from typing import Any

from medtl_monai.bundle.planning.data_fingerprint import Fingerprint, summary
from medtl_monai.bundle.planning.plan import Plan

_MOST_NAMES = 12


def found_lines(fingerprint: Fingerprint, plan: Plan) -> list[str]:
    """The data in a few lines."""
    lines = [
        f"{fingerprint.cases} cases of {fingerprint.patients} patients, laid out as {fingerprint.layout}; "
        f"{len(fingerprint.read)} were read for the numbers here.",
        _sizes(fingerprint),
    ]
    return [*lines, *(_classes(fingerprint) if plan.task == "classification" else _labels(fingerprint))]


def _sizes(fingerprint: Fingerprint) -> str:
    found = summary(fingerprint.read)
    shape = found["shape"]
    text = f"Size (median): {_times(shape['p50'])}"
    if "spacing_mm" in found:
        text += f" voxels of {_times(found['spacing_mm']['p50'])} mm along right, anterior, superior"
    else:
        text += " pixels"
    values = found["percentiles"]
    return f"{text}; values {values['0.5']:.4g} to {values['99.5']:.4g}, median {values['50']:.4g}."


def _times(values: list[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _classes(fingerprint: Fingerprint) -> list[str]:
    counts = [f"{name} {fingerprint.class_cases.get(value, 0)}" for value, name in fingerprint.names.items()]
    return [f"Cases of each class: {_some(counts)}."]


def _labels(fingerprint: Fingerprint) -> list[str]:
    found = summary(fingerprint.read)
    parts = []
    for value, name in fingerprint.names.items():
        volume = found["label_ml"].get(str(value))
        if value and volume is not None:
            parts.append(f"{name} {volume['p50']:.3g} ml in {found['label_cases'][str(value)]} cases")
        elif value:
            parts.append(f"{name} in no case that was read")
    return [f"Labels (median volume): {_some(parts)}."]


def _some(parts: list[str]) -> str:
    more = f", and {len(parts) - _MOST_NAMES} more" if len(parts) > _MOST_NAMES else ""
    return ", ".join(parts[:_MOST_NAMES]) + more


def shown(name: str, value: Any) -> str:
    """The value of a choice in a few words."""
    if name == "labels":
        pairs = [f"{key} {text}" for key, text in value["names"].items()]
        return _some(pairs)
    if name == "split":
        return "as given" if value["given"] else f"{value['validation']:.0%} validation, {value['test']:.0%} test"
    if name == "loss":
        weights = value["class_weights"]
        return f"{value['name']}, {'equal weights' if weights is None else 'weights ' + _some(_pairs(weights))}"
    if name == "intensity":
        return _intensity(value)
    if isinstance(value, list):
        return " x ".join(map(str, value)) if name != "flips" else ", ".join(map(str, value)) or "none"
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _pairs(weights: dict[str, float]) -> list[str]:
    return [f"{key}: {weight:g}" for key, weight in weights.items()]


def _intensity(value: dict[str, Any]) -> str:
    text = str(value["kind"])
    if "window" in value:
        text += f" {value['window']}"
    if "low" in value:
        text += f", {value['low']:g} to {value['high']:g} HU"
    if value.get("nonzero"):
        text += " of the voxels that are not 0"
    return text
