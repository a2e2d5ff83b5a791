"""Does every network train whole, and does it leave PyTorch unchanged?

For each network that `--network` can name: the share of parameters that a gradient reaches in a training step, and the
largest difference of its logits after `torch.jit.script`, after `torch.export` and after an ONNX export (run by
onnxruntime), on one seeded image. Resumable: finished networks are read back from the result file's lines.

    python benchmarks/network_checks.py [--only TEXT] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import torch

from medtl_monai.networks.factory import NETWORKS, build_network
from medtl_monai.networks.staged import StagedNetwork, parameter_count

RESULTS = Path(__file__).parent / "results" / "network_checks.jsonl"
SIZES = {2: (64, 96), 3: (40, 32, 24)}
PACKAGES = ("torch", "torchvision", "monai", "onnx", "onnxscript", "onnxruntime")


def gradient_share(network: StagedNetwork, image: torch.Tensor) -> float:
    """Share of parameters (by number of tensors) that get a gradient other than zero in one training step."""
    network.train()
    network(image).square().mean().backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters()]
    network.zero_grad()
    return sum(reached) / len(reached)


def scripted(network: StagedNetwork, image: torch.Tensor) -> torch.Tensor:
    """Logits after torch.jit.script."""
    return torch.jit.script(network)(image)


def exported(network: StagedNetwork, image: torch.Tensor) -> torch.Tensor:
    """Logits after torch.export."""
    return torch.export.export(network, (image,)).module()(image)


def onnx(network: StagedNetwork, image: torch.Tensor) -> torch.Tensor:
    """Logits after an ONNX export, computed by onnxruntime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, (image,), dynamo=True, verbose=False).save(str(path))
        session = onnxruntime.InferenceSession(str(path))
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])


WAYS: dict[str, Callable[[StagedNetwork, torch.Tensor], torch.Tensor]] = {
    "script": scripted,
    "export": exported,
    "onnx": onnx,
}


def check(name: str) -> dict[str, object]:
    """All checks of one network; a way that fails is recorded with its error."""
    torch.manual_seed(0)
    image = torch.rand(2, 1, *SIZES[NETWORKS[name].spatial_dims])
    network = build_network(name, out_channels=3)
    row: dict[str, object] = {
        "network": name,
        "parameters": parameter_count(network),
        "gradient_share": gradient_share(network, image),
    }
    network.eval()
    with torch.no_grad():
        logits = network(image[:1])
        row["largest_logit"] = float(logits.abs().max())
        for way, run in WAYS.items():
            try:
                row[way] = float((run(network, image[:1]) - logits).abs().max())
            except Exception as error:  # noqa: BLE001 - what failed is the result
                row[way] = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    return row


def main() -> None:
    """Check the networks that are not in the result file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    done: set[str] = set()
    if options.output.is_file():
        done = {json.loads(line)["network"] for line in options.output.read_text().splitlines()}
    for name in (name for name in NETWORKS if options.only in name and name not in done):
        row = check(name)
        row["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        row["versions"] = {package: version(package) for package in PACKAGES}
        row["command"] = "python benchmarks/network_checks.py"
        with options.output.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        sys.stdout.write(json.dumps({key: row[key] for key in ("network", "gradient_share", *WAYS)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
