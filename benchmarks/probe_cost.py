"""What a linear probe of 50 epochs costs with the frozen network in every epoch, and with features taken once.

    MEDTL_DATA=... MEDTL_WEIGHTS=... python benchmarks/probe_cost.py [--backend openvino] [--repetitions 3]

Two sides with the same network, head, optimiser, initial head and order of batches:

- ``every epoch``: each batch goes through the frozen network, without gradient, then one step of the head;
- ``once``: features of all images by ``FrozenFeatures(backend=...)``, then 50 epochs of the head on them. Its time
  holds all: import and building of the backend, its comparison with the network itself, extraction, head.

The sides alternate within one process. SqueezeNet runs all 50 epochs of the first side, and both heads are judged on
test slices; the others run one epoch per repetition, times 50. The ratio of a repetition compares neighbours in time;
medians of ratios. The second table compares the backends on single batches, alternating, once they are built.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

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
LEARNING_RATE = 0.01
BARS = {"probe": 50.0, "extraction": 1.5}
SINGLE_BATCHES = {
    "resnet18": (8, 1, 224, 224),
    "squeezenet1_0": (8, 1, 224, 224),
    "resnet50": (8, 1, 224, 224),
    "highres3dnet": (4, 1, 32, 32, 32),
    "medicalnet_resnet18": (2, 1, 64, 64, 64),
    "resnet18_i3d": (2, 1, 64, 64, 64),
}


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


def slow_epoch(task: Task, probe: Probe, epoch: int) -> dict[str, float]:
    """One epoch through the frozen network."""
    network, spent = FrozenFeatures(task.network), 0.0

    def features(chosen: torch.Tensor) -> torch.Tensor:
        nonlocal spent
        start = time.perf_counter()
        found = network(task.images[chosen])
        spent += time.perf_counter() - start
        return found

    start = time.perf_counter()
    loss = probe.epoch(features, task.labels, task.orders[epoch])
    return {"seconds": time.perf_counter() - start, "network_seconds": spent, "loss": loss}


def once(task: Task, backend: str, import_seconds: float) -> tuple[Probe, dict[str, object]]:
    """Features once, then all epochs of the head; the trained head and the times of the parts."""
    clock = [time.perf_counter()]
    features = FrozenFeatures(task.network, backend=backend)
    table = torch.from_numpy(extract(features, task.images.split(task.batch)))
    clock.append(time.perf_counter())
    probe = Probe(table.shape[1])
    losses = [probe.epoch(lambda chosen: table[chosen], task.labels, order) for order in task.orders]
    clock.append(time.perf_counter())
    extract(features, task.images.split(task.batch))  # once more, now that the backend is built: not part of the cost
    clock.append(time.perf_counter())
    first, head, ready = np.diff(clock).tolist()
    parts = {"import": import_seconds, "extraction_with_building": first, "head": head}
    row = {"seconds": sum(parts.values()), "parts": parts, "extraction_when_built": ready, "losses": losses}
    return probe, row


def compare(task: Task, backend: str, repetitions: int, import_seconds: float) -> dict[str, object]:
    """Both sides of a task, alternating."""
    reference = torch.from_numpy(extract(task.network, task.images.split(task.batch)))  # also warms up
    slow_probe, rows, slow = Probe(reference.shape[1]), [], []
    for block in np.array_split(np.arange(EPOCHS if task.whole else repetitions), repetitions):
        fast_probe, row = once(task, backend, import_seconds)
        epochs = [slow_epoch(task, slow_probe, int(epoch)) for epoch in block]
        slow += epochs
        network = statistics.median(epoch["network_seconds"] for epoch in epochs)
        row["ratio"] = EPOCHS * statistics.median(epoch["seconds"] for epoch in epochs) / row["seconds"]
        row["extraction_ratio"] = network / row["extraction_when_built"]
        row["extraction_ratio_with_building"] = network / row["parts"]["extraction_with_building"]
        rows.append(row)
    losses = [row.pop("losses") for row in rows][-1]
    result: dict[str, object] = {
        "task": task.name,
        "images": list(task.images.shape),
        "batch": task.batch,
        **{key: statistics.median(row[key] for row in rows) for key in rows[0] if "ratio" in key},
        "largest_loss_difference": max(abs(a["loss"] - b) for a, b in zip(slow, losses, strict=False)),
        "every_epoch": {key: [epoch[key] for epoch in slow] for key in ("seconds", "network_seconds")},
        "once": rows,
    }
    if task.whole:
        test = torch.from_numpy(extract(task.network, task.test_images.split(task.batch)))
        result["all_epochs_seconds"] = sum(epoch["seconds"] for epoch in slow)
        result["ratio_all_epochs"] = result["all_epochs_seconds"] / statistics.median(row["seconds"] for row in rows)
        result["test_images"] = len(test)
        for side, probe in (("every_epoch", slow_probe), ("once", fast_probe)):
            result[f"test_correct_{side}"] = probe.correct(test, task.test_labels)
    return result


def single_batches(backends: list[str], rounds: int) -> list[dict[str, object]]:
    """Seconds per batch of every backend, ready, in alternation; random weights."""
    found = []
    for name, shape in SINGLE_BATCHES.items():
        network = build_network(f"classifier_{name}", seed=SEED)
        image = torch.rand(shape, generator=torch.Generator().manual_seed(SEED))
        ways = {backend: FrozenFeatures(network, backend=backend) for backend in ("eager", *backends)}
        first = {backend: way(image) for backend, way in ways.items()}
        seconds: dict[str, list[float]] = {backend: [] for backend in ways}
        for backend, way in [*ways.items()] * (rounds + 1):
            start = time.perf_counter()
            way(image)
            seconds[backend].append(time.perf_counter() - start)
        row: dict[str, object] = {"network": name, "batch": list(shape)}
        for backend in backends:
            pairs = list(zip(seconds["eager"], seconds[backend], strict=True))[1:]  # the first round warms up
            row[f"{backend}_ratio"] = statistics.median(eager / other for eager, other in pairs)
            apart = (first[backend] - first["eager"]).abs().max() / first["eager"].abs().max()
            row[f"{backend}_difference"] = float(apart)
        found.append({**row, "seconds": seconds})
        print(json.dumps(row), flush=True)
    return found


def main() -> None:
    """Measure, write the raw numbers, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4, help="alternations of single batches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    backends = ["traced"]
    if options.backend == "openvino":
        import_openvino()
        backends.append("openvino")
    import_seconds = time.perf_counter() - start
    tasks = [
        lambda: head_ct_task("squeezenet1_0", "imagenet_squeezenet1_0_pruned", whole=True),
        lambda: head_ct_task("resnet18", None, whole=False),
        hippocampus_task,
    ]
    probes = []
    for make in tasks:
        probes.append(compare(make(), options.backend, options.repetitions, import_seconds))
        print(
            json.dumps({key: value for key, value in probes[-1].items() if key not in ("every_epoch", "once")}),
            flush=True,
        )
    record = provenance("probe_cost.py")
    if "openvino" in backends:
        record["versions"] = {**dict(record["versions"]), "openvino": version("openvino")}
    summary = {
        **record,
        "seed": SEED,
        "epochs": EPOCHS,
        "backend": options.backend,
        "bars": BARS,
        "probes": probes,
        "single_batches": single_batches(backends, options.rounds),
        "seconds": round(time.perf_counter() - start, 1),
    }
    RESULT.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
