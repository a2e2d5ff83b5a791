"""The gradient of 3D convolutions on a CPU: plain PyTorch and this library side by side.

    python benchmarks/thin_maps.py

A convolution of 16 to 16 channels, padded by half of its kernel, on maps of (DEPTH, 9, 9) voxels. Before every
forward and backward pass blocks of memory full of NaN are freed. Per kernel, stride and depth: in how many of 10 passes
the gradient of the weights is off by more than 5 % of its largest value (float64 being right), or not finite. Each in a
process of its own, as some end in a crash. Result: ``results/thin_maps.json``.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from probes.record import RESULTS, provenance
from torch import nn

from medtl_monai.inference.precision import forward_in

PASSES, LIMIT = 10, 0.05
Forward = Callable[[torch.Tensor, nn.Module], torch.Tensor]


def autocast(image: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """What MONAI's trainer and any other loop does."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return layer(image).float()


WAYS = {
    "float32": lambda image, layer: layer(image),
    "medtl_monai, float32": partial(forward_in, "float32"),
    "bfloat16": autocast,
    "medtl_monai, bfloat16": partial(forward_in, "bfloat16"),
}


def leave_nan_in_memory() -> None:
    """Freed blocks of many sizes, full of NaN."""
    blocks = [torch.full((size,), float("nan")) for size in range(1000, 400_000, 20_000)]
    del blocks


def gradient(way: Forward, layer: nn.Conv3d, image: torch.Tensor) -> torch.Tensor:
    """Gradient of the weights for a fixed weighting of the output."""
    layer.zero_grad()
    leave_nan_in_memory()
    output = way(image.clone().requires_grad_(), layer)
    leave_nan_in_memory()
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad.clone()


def wrong(way: str, kernel: int, stride: int, depth: int) -> int:
    """Number of wrong gradients."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = nn.Conv3d(16, 16, kernel, stride=stride, padding=kernel // 2)
    image = torch.randn(1, 16, depth, 9, 9)
    exact = copy.deepcopy(layer).double()
    right = gradient(WAYS["float32"], exact, image.double())
    limit = LIMIT * right.abs().max()
    found = [gradient(WAYS[way], layer, image) for _ in range(PASSES)]
    return sum(not bool(((one - right).abs() <= limit).all()) for one in found)


def measured(way: str, kernel: int, stride: int, depth: int) -> int | str:
    """The same in a process of its own; ``"crash"`` where that dies."""
    words = [sys.executable, __file__, way, str(kernel), str(stride), str(depth)]
    ended = subprocess.run(words, capture_output=True, text=True)
    return int(ended.stdout.split()[-1]) if ended.returncode == 0 else "crash"


def main() -> None:
    """All cases; with arguments, one."""
    if len(sys.argv) > 1:
        way, *numbers = sys.argv[1:]
        print(wrong(way, *(int(number) for number in numbers)))
        return
    rows = []
    for kernel, stride in ((1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)):
        for depth in range(1, kernel + 3):
            row = {"kernel": kernel, "stride": stride, "depth": depth}
            rows.append({**row, **{way: measured(way, kernel, stride, depth) for way in WAYS}})
            print(rows[-1], flush=True)
    result = {**provenance("thin_maps.py"), "cpu": torch.backends.cpu.get_cpu_capability(), "passes": PASSES}
    (RESULTS / "thin_maps.json").write_text(json.dumps({**result, "wrong_gradients": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
