"""Which network a weights file belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from medtl_monai.errors import WeightsError
from medtl_monai.networks.bundle_network import PREFIX as BUNDLE_PREFIX
from medtl_monai.networks.encoders import build_encoder
from medtl_monai.networks.factory import NETWORKS, NetworkName, build_network, network_name
from medtl_monai.weights.registry import REGISTRY

_PARTS = {"unet": "decoder.", "dense": "dense_head.", "classifier": "class_head."}
State = Mapping[str, torch.Tensor]


def recognise(path: Path, state: State, default: str) -> str:
    """Name of the network that a file's tensors belong to.

    Asked in this order: the record of the training run beside the file (``run.json``), the names and shapes of the
    networks of this library, and those of a published encoder, which goes into a network for the task of ``default``.

    Raises:
        WeightsError: the tensors belong to no network of this library, or to two that compute different things
            (MedicalNet with output stride 8 or 32), and no record says which was trained.
    """
    recorded = _recorded(path)
    if recorded.startswith(BUNDLE_PREFIX) or (recorded in NETWORKS and _share(recorded, state) > 0.5):
        return recorded
    shares = {name: _share(name, state) for name in ("unet", "highres3dnet")}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= 0.5:
        return best
    whole = next((part for part in _PARTS.values() if any(name.startswith(part) for name in state)), None)
    prefix = "encoder." if whole else ""
    rows = [row for row in NETWORKS.values() if _PARTS.get(row.family) == whole] if whole else _of_task(default)
    fitting = [row.name for row in rows if row.encoder and _fits(row, state, prefix)]
    if whole:
        _require_one(fitting, path)
    if fitting:
        return fitting[0]
    raise WeightsError(
        "the tensor names belong to no network of this library",
        path=path,
        expected="a state dict of a network that `--network` can name, or of a published encoder",
        got=", ".join(list(state)[:3]) + ", ...",
        remedy="a published file goes by its registry name after `medtl weights import FILE`: " + ", ".join(REGISTRY),
    )


def _recorded(path: Path) -> str:
    """The ``network`` knob in the ``run.json`` of the file's own folder, or nothing."""
    try:
        record = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))
        return str(record["config"]["settings"]["network"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _require_one(names: list[str], path: Path) -> None:
    """Inflated by the mean or the centre, two networks are one once they are filled."""
    different = [name for name in names if not name.endswith("_centre")]
    if len(different) > 1:
        raise WeightsError(
            "the tensors fit several networks, which compute different things",
            path=path,
            expected="a run.json beside the file, or --network",
            got=" or ".join(different),
            remedy="say which one was trained, with `--network`",
        )


def _of_task(default: str) -> list[NetworkName]:
    """Networks for the task and the dimensions of ``default``, its own family first; none for a name that is none."""
    if default not in NETWORKS:
        return []
    wanted = network_name(default)
    rows = [r for r in NETWORKS.values() if (r.task, r.spatial_dims) == (wanted.task, wanted.spatial_dims)]
    return sorted(rows, key=lambda row: row.family != wanted.family)


def _share(name: str, state: State) -> float:
    with torch.device("meta"):
        own = set(build_network(name).state_dict())
    return len(own & set(state)) / len(own | set(state))


def _fits(row: NetworkName, state: State, prefix: str) -> bool:
    """Whether the state has all tensors of the row's encoder: as trained under a ``prefix``, as published without."""
    with torch.device("meta"):
        encoder = build_encoder(row.encoder)
    adapted = set() if prefix else set(encoder.adaptation)
    own = encoder.state_dict()
    return all(
        prefix + name in state and (name in adapted or state[prefix + name].shape == tensor.shape)
        for name, tensor in own.items()
    )
