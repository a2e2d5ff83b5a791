"""K6: TorchScript and torch.export of the MedicalNet ResNets with type-A shortcuts."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import ResNetFeatures
from torch import nn

from faithful.row import Row, kind, percent, refusal, relative
from medtl_monai.networks.medicalnet import MedicalNetEncoder

SEED = 5
LIMIT = 1e-5
DEPTHS = (18, 34)
WAYS = ("script", "export", "export strict")


def _ways(network: nn.Module, image: torch.Tensor) -> dict[str, Callable[[], nn.Module]]:
    return {
        "script": lambda: torch.jit.script(network),
        "export": lambda: torch.export.export(network, (image,)).module(),
        "export strict": lambda: torch.export.export(network, (image,), strict=True).module(),
    }


def _apart(depth: int, way: str, build: Callable[[int], nn.Module]) -> dict[str, Any]:
    """One attempt in a process of its own: a failed compilation leaves traces that spoil the next one's message."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(_attempt(depth, way, build)))
    child.start()
    sender.close()
    result = receiver.recv()  # EOFError if the process died
    child.join()
    return result


@torch.no_grad()
def _attempt(depth: int, way: str, build: Callable[[int], nn.Module]) -> dict[str, Any]:
    """Compile, run, compare the deepest map."""
    torch.manual_seed(SEED)
    network, image = build(depth).eval(), torch.randn(1, 1, 32, 32, 32)
    compiled: list[nn.Module] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own about the age of TorchScript
        refused = refusal(lambda: compiled.append(_ways(network, image)[way]()))
    difference = None if refused else relative(compiled[0](image)[-1], network(image)[-1])
    return {"error": refused, "relative_difference": difference}


def _measure(build: Callable[[int], nn.Module]) -> dict[str, dict[str, Any]]:
    return {f"resnet{depth} {way}": _apart(depth, way, build) for depth in DEPTHS for way in WAYS}


def _difference(result: dict[str, Any]) -> str:
    return percent(result["relative_difference"])


def _text(results: dict[str, dict[str, Any]]) -> str:
    return "; ".join(
        f"{name}: " + (kind(result["error"]) if result["error"] else f"runs, output differs by {_difference(result)}")
        for name, result in results.items()
    )


def _right(result: dict[str, Any]) -> bool:
    return not result["error"] and result["relative_difference"] <= LIMIT


def compiled(folder: Path) -> Row:
    """ResNet-18 and 34 through both compilers, the second in its default and its strict mode."""
    monai = _measure(lambda depth: ResNetFeatures(f"resnet{depth}", pretrained=False))
    ours = _measure(MedicalNetEncoder)
    return Row(
        key="K6",
        defect="MedicalNet's ResNet-18 and 34 through torch.jit.script and torch.export (default and strict): does the "
        "result compute what the network does?",
        monai=monai,
        ours=ours,
        monai_text=_text(monai),
        ours_text=_text(ours),
        defect_shown=not all(_right(result) for result in monai.values()),
        ours_ok=all(_right(result) for result in ours.values()),
    )
