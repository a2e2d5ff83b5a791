"""What a linear probe of 50 epochs costs with the frozen network in every epoch, and with features taken once.

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/probe_cost.py [--backend openvino] [--repetitions 3]

Two sides with the same network, head, optimiser, initial head and order of batches:

- ``every epoch``: each batch goes through the frozen network, without gradient, then one step of the head;
- ``once``: features of all images by ``FrozenFeatures(backend=...)``, then 50 epochs of the head on them. Its time
  holds all: import and building of the backend, its comparison with the network itself, extraction, head.

The sides alternate within one process. SqueezeNet runs all 50 epochs of the first side, and both heads are judged on
test slices; the others run one epoch per repetition, times 50. The ratio of a repetition compares neighbours in time;
medians of ratios. The second table compares the backends on single batches, alternating, once they are built. Every
time and ratio is a pair, ``[wall clock, processor time]``, one thread: on a machine with other work the second is the
one to read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from probes.cost_tasks import EPOCHS, SEED, Batches, Task, head_ct_task, hippocampus_task
from probes.record import RESULTS, provenance
from torch import nn

from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.features import FrozenFeatures, extract
from medtl_monai.transfer.openvino_features import import_openvino

RESULT = RESULTS / "probe_cost.json"
LEARNING_RATE = 0.001  # at 0.01 features that differ in their seventh digit end in other heads
BARS = {"probe": 50.0, "extraction": 1.5}
SINGLE_BATCHES = {
    "resnet18": (8, 1, 224, 224),
    "squeezenet1_0": (8, 1, 224, 224),
    "resnet50": (8, 1, 224, 224),
    "highres3dnet": (4, 1, 32, 32, 32),
    "medicalnet_resnet18": (2, 1, 64, 64, 64),
    "resnet18_i3d": (2, 1, 64, 64, 64),
}


def now() -> np.ndarray:
    """Wall clock and processor time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def plain(value: Any) -> Any:
    """JSON of what was measured: a pair of times or ratios becomes ``[wall, processor]``."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return [float(f"{number:.4g}") for number in value] if isinstance(value, np.ndarray) else value


class Probe:
    """A new head on the features of a network, always the same at the start."""

    def __init__(self, size: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            self.head = nn.Linear(size, 2)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=LEARNING_RATE)

    def epoch(self, features: Callable[[torch.Tensor], torch.Tensor], labels: torch.Tensor, order: Batches) -> float:
        """One pass over the batches of ``order``; returns the mean loss."""
        losses = []
        for chosen in order:
            loss = F.cross_entropy(self.head(features(chosen)), labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return statistics.fmean(losses)

    def correct(self, features: torch.Tensor, labels: torch.Tensor) -> int:
        """Number of test images that are classified right."""
        with torch.no_grad():
            return int((self.head(features).argmax(1) == labels).sum())


def slow_epoch(task: Task, probe: Probe, epoch: int) -> dict[str, Any]:
    """One epoch through the frozen network."""
    network, spent = FrozenFeatures(task.network), np.zeros(2)

    def features(chosen: torch.Tensor) -> torch.Tensor:
        nonlocal spent
        start = now()
        found = network(task.images[chosen])
        spent += now() - start
        return found

    start = now()
    loss = probe.epoch(features, task.labels, task.orders[epoch])
    return {"seconds": now() - start, "network_seconds": spent, "loss": loss}


def once(task: Task, backend: str, import_seconds: np.ndarray) -> tuple[Probe, dict[str, Any]]:
    """Features once, then all epochs of the head; the trained head and the times of the parts."""
    clock = [now()]
    features = FrozenFeatures(task.network, backend=backend)
    table = torch.from_numpy(extract(features, task.images.split(task.batch)))
    clock.append(now())
    probe = Probe(table.shape[1])
    losses = [probe.epoch(lambda chosen: table[chosen], task.labels, order) for order in task.orders]
    clock.append(now())
    extract(features, task.images.split(task.batch))  # once more, now that the backend is built: not part of the cost
    clock.append(now())
    first, head, ready = np.diff(clock, axis=0)
    parts = {"import": import_seconds, "extraction_with_building": first, "head": head}
    row = {"seconds": np.sum(list(parts.values()), axis=0), "parts": parts, "extraction_when_built": ready}
    return probe, {**row, "losses": losses}


def compare(task: Task, backend: str, repetitions: int, import_seconds: np.ndarray) -> dict[str, Any]:
    """Both sides of a task, alternating."""
    reference = torch.from_numpy(extract(task.network, task.images.split(task.batch)))  # also warms up
    slow_probe, rows, slow = Probe(reference.shape[1]), [], []
    for block in np.array_split(np.arange(EPOCHS if task.whole else repetitions), repetitions):
        fast_probe, row = once(task, backend, import_seconds)
        epochs = [slow_epoch(task, slow_probe, int(epoch)) for epoch in block]
        slow += epochs
        network = np.median([epoch["network_seconds"] for epoch in epochs], axis=0)
        row["ratio"] = EPOCHS * np.median([epoch["seconds"] for epoch in epochs], axis=0) / row["seconds"]
        row["extraction_ratio"] = network / row["extraction_when_built"]
        row["extraction_ratio_with_building"] = network / row["parts"]["extraction_with_building"]
        rows.append(row)
    losses = [row.pop("losses") for row in rows][-1]
    result: dict[str, Any] = {
        "task": task.name,
        "images": list(task.images.shape),
        "batch": task.batch,
        **{key: np.median([row[key] for row in rows], axis=0) for key in rows[0] if "ratio" in key},
        "largest_loss_difference": max(abs(a["loss"] - b) for a, b in zip(slow, losses, strict=False)),
        "every_epoch": {key: [epoch[key] for epoch in slow] for key in ("seconds", "network_seconds")},
        "once": rows,
    }
    if task.whole:
        test = torch.from_numpy(extract(task.network, task.test_images.split(task.batch)))
        result["all_epochs_seconds"] = np.sum([epoch["seconds"] for epoch in slow], axis=0)
        result["ratio_all_epochs"] = result["all_epochs_seconds"] / np.median([row["seconds"] for row in rows], axis=0)
        result["test_images"] = len(test)
        for side, probe in (("every_epoch", slow_probe), ("once", fast_probe)):
            result[f"test_correct_{side}"] = probe.correct(test, task.test_labels)
    return result


def single_batches(backends: list[str], rounds: int) -> list[dict[str, Any]]:
    """Seconds per batch of every backend, ready, in alternation; random weights."""
    found = []
    for name, shape in SINGLE_BATCHES.items():
        network = build_network(f"classifier_{name}", seed=SEED)
        image = torch.rand(shape, generator=torch.Generator().manual_seed(SEED))
        ways = {backend: FrozenFeatures(network, backend=backend) for backend in ("eager", *backends)}
        first = {backend: way(image) for backend, way in ways.items()}
        seconds: dict[str, list[np.ndarray]] = {backend: [] for backend in ways}
        for backend, way in [*ways.items()] * (rounds + 1):
            start = now()
            way(image)
            seconds[backend].append(now() - start)
        row: dict[str, Any] = {"network": name, "batch": list(shape)}
        for backend in backends:
            pairs = list(zip(seconds["eager"], seconds[backend], strict=True))[1:]  # the first round warms up
            row[f"{backend}_ratio"] = np.median([eager / other for eager, other in pairs], axis=0)
            apart = (first[backend] - first["eager"]).abs().max() / first["eager"].abs().max()
            row[f"{backend}_difference"] = float(apart)
        found.append({**row, "seconds": seconds})
        print(json.dumps(plain(row)), flush=True)
    return found


def main() -> None:
    """Measure, write the raw numbers, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4, help="alternations of single batches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = now()
    backends = ["traced"]
    if options.backend == "openvino":
        import_openvino()
        backends.append("openvino")
    import_seconds = now() - start
    tasks = [
        lambda: head_ct_task("squeezenet1_0", "imagenet_squeezenet1_0_pruned", whole=True),
        lambda: head_ct_task("resnet18", None, whole=False),
        hippocampus_task,
    ]
    probes = []
    for make in tasks:
        probes.append(compare(make(), options.backend, options.repetitions, import_seconds))
        shown = {key: value for key, value in probes[-1].items() if key not in ("every_epoch", "once")}
        print(json.dumps(plain(shown)), flush=True)
    record: dict[str, Any] = provenance("probe_cost.py")
    if "openvino" in backends:
        record["versions"]["openvino"] = version("openvino")
    summary = {
        **record,
        "seed": SEED,
        "epochs": EPOCHS,
        "backend": options.backend,
        "bars": BARS,
        "probes": probes,
        "single_batches": single_batches(backends, options.rounds),
        "seconds": now() - start,
        "load_average": list(os.getloadavg()),
    }
    RESULT.write_text(json.dumps(plain(summary), indent=1) + "\n")


if __name__ == "__main__":
    main()
