"""K2, K3 and damage: checkpoints read by loaders that go on whatever they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.bundle import load
from monai.handlers import CheckpointLoader
from torch import nn

from faithful.official import draw
from faithful.row import Row, State, alarms, kind, refusal, saved, taken_over
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.source import load_source

SEED = 4


def _source(classes: int) -> State:
    """A checkpoint of the library's small U-Net in which every value is random."""
    shapes = {name: tuple(t.shape) for name, t in build_network("unet", out_channels=classes).state_dict().items()}
    return draw(shapes, SEED)


def _handler(path: Path, classes: int, strict: bool) -> nn.Module:
    """A network filled by MONAI's handler."""
    network = build_network("unet", out_channels=classes)
    engine = Engine(lambda _engine, _batch: None)
    handler = CheckpointLoader(str(path), {"model": network}, strict=strict, strict_shape=strict)
    handler.attach(engine)
    engine.run([0])
    return network


def _ours(path: Path, classes: int) -> nn.Module:
    network = build_network("unet", out_channels=classes)
    load_source(network, str(path))
    return network


def other_head(folder: Path) -> Row:
    """From 2 classes to 3: every tensor but the head's fits."""
    state = _source(2)
    flat, nested = saved(state, folder / "flat.pt"), saved({"model": state}, folder / "nested.pt")
    wanted = build_network("unet", out_channels=3).state_dict()
    fitting = sum(wanted[name].shape == tensor.shape for name, tensor in state.items())
    body = len(wanted) - sum(name.startswith(_head_names()) for name in wanted)
    with alarms() as texts:
        monai = {
            "flat": taken_over(_handler(flat, 3, strict=False), state),
            "nested": taken_over(_handler(nested, 3, strict=False), state),
            "same_classes_strict": taken_over(_handler(flat, 2, strict=True), state),
        }
    ours = {"flat": taken_over(_ours(flat, 3), state), "nested": taken_over(_ours(nested, 3), state)}
    return Row(
        key="K2",
        defect="transfer to another number of classes: how many of the tensors that fit are loaded?",
        monai={**monai, "fitting": fitting, "tensors": len(state), "alarms": texts},
        ours={**ours, "fitting": fitting, "outside_the_head": body},
        monai_text=f"CheckpointLoader(strict_shape=False): {monai['flat']} of {fitting} from a flat file, "
        f"{monai['nested']} of {fitting} from a nested one (strict, same classes: {monai['same_classes_strict']} of "
        f"{len(state)}); warnings: {len(texts)}",
        ours_text=f"load_source: {ours['flat']} and {ours['nested']} of {fitting}; the new head is named in the report",
        defect_shown=min(monai["flat"], monai["nested"]) < fitting and not texts,
        ours_ok=min(ours["flat"], ours["nested"]) == fitting == body,
    )


def _head_names() -> tuple[str, ...]:
    network = build_network("unet")
    return tuple(f"{name}." for name in network.stages[network.head])


def _bundle(folder: Path, content: object) -> nn.Module:
    """A network filled by MONAI's ``bundle.load``."""
    saved(content, folder / "hippocampus" / "models" / "model.pt")
    network = build_network("unet", out_channels=2)
    load("hippocampus", model=network, bundle_dir=str(folder), device="cpu")
    return network


def wrapped(folder: Path) -> Row:
    """A checkpoint as a training loop saves it: the state dict beside the epoch."""
    state = _source(2)
    with alarms() as texts:
        monai = {
            "wrapped": taken_over(_bundle(folder, {"epoch": torch.tensor(3), "model": state}), state),
            "flat": taken_over(_bundle(folder, state), state),
        }
    ours = {"wrapped": taken_over(_ours(saved({"epoch": 3, "model": state}, folder / "w.pt"), 2), state)}
    unknown = saved({"epoch": 3, "net_of_mine": state}, folder / "u.pt")
    refused = refusal(lambda: _ours(unknown, 2))
    return Row(
        key="K3",
        defect="a checkpoint {'model': state_dict}: how many tensors reach the network?",
        monai={**monai, "tensors": len(state), "alarms": texts},
        ours={**ours, "tensors": len(state), "unknown_wrapper": refused},
        monai_text=f"monai.bundle.load: {monai['wrapped']} of {len(state)} (flat file: {monai['flat']}); warnings: "
        f"{len(texts)}",
        ours_text=f"load_source: {ours['wrapped']} of {len(state)}; under a name that is not known: {kind(refused)}",
        defect_shown=monai["wrapped"] < len(state) and not texts,
        ours_ok=ours["wrapped"] == len(state) and refused.startswith("WeightsError"),
    )


def damaged(folder: Path) -> Row:
    """One byte of a saved file is altered, inside the values of one tensor."""
    state = _source(2)
    path = saved(state, folder / "model.pt")
    name = max(state, key=lambda key: state[key].numel())
    content = bytearray(path.read_bytes())
    place = content.index(state[name].numpy().tobytes()) + 3  # little-endian: sign and most of the exponent
    content[place] ^= 0x40
    path.write_bytes(content)

    with alarms() as texts:
        network = _handler(path, 2, strict=True)
    before, after = float(state[name].flatten()[0]), float(network.state_dict()[name].flatten()[0])
    monai: dict[str, Any] = {
        "tensors": len(state),
        "tensors_as_saved": taken_over(network, state),
        "value_before": before,
        "value_after": after,
        "alarms": texts,
    }
    refused = refusal(lambda: _ours(path, 2))
    return Row(
        key="damage",
        defect="one byte of a weights file is altered (its CRC-32 no longer holds)",
        monai=monai,
        ours={"error": refused},
        monai_text=f"CheckpointLoader (torch.load): loaded; {monai['tensors_as_saved']} of {len(state)} tensors as "
        f"saved, one value is {after:.2g} for {before:.2g}; warnings: {len(texts)}",
        ours_text=kind(refused),
        defect_shown=monai["tensors_as_saved"] < len(state) and not texts,
        ours_ok=refused.startswith("WeightsError"),
    )
