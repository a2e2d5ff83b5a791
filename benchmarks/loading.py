"""Time and memory of a faithful load beside torch.load + load_state_dict, on the same files.

    MEDTL_WEIGHTS=... python benchmarks/loading.py [repetitions] [realtime]

Four networks from 3 to 185 MB, each as a zip file and in the older ("legacy") format of ``torch.save``:

- ``plain``: ``torch.load(path, map_location="cpu")`` and ``load_state_dict``;
- ``published``: the faithful load of a file whose hash is known: sha256 of the bytes, compared; safe read; look for NaN
  and infinities; match; fill; report;
- ``own``: the same for a file whose hash is not known: sha256 for the report, CRC-32 of every tensor compared (zip).

Every measurement is a process of its own that has imported everything, built the network and loaded a tiny file; the
first load is timed (memory fresh from the system, as in every program that loads weights once), then three more in the
same process (memory that the allocator kept). The file is in the page cache. Peak memory is the rise of the process's
high-water mark over what it held before the first load. Kinds alternate, in an order that rotates; medians. One thread
for tensors; the faithful load hashes in a second one, so it needs a second core: ``others`` is the number of cores that
other programs kept busy during a measurement, and with ``realtime`` (needs root) the loads go before them. Renaming,
where the real file needs it, is part of every kind.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from monai.networks.nets import HighResNet
from torch import nn

from medtl_monai.io.hashing import sha256_of
from medtl_monai.networks.medicalnet import MedicalNetEncoder
from medtl_monai.weights.adapt import rename
from medtl_monai.weights.load import fill_network, match_state
from medtl_monai.weights.read import read_state_with_hash

PROJECT = Path(__file__).resolve().parents[1]
RESULT = PROJECT / "benchmarks" / "results" / "loading.json"
WEIGHTS = Path(os.environ.get("MEDTL_WEIGHTS", PROJECT.parent / "shared" / "weights"))
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "highres3dnet": lambda: HighResNet(spatial_dims=3, in_channels=1, out_channels=160),
    "squeezenet1_0": torchvision.models.squeezenet1_0,
    "resnet18": torchvision.models.resnet18,
    "medicalnet_resnet50": lambda: MedicalNetEncoder(50),
}
REAL = {
    "highres3dnet": "highres3dnet_li_parameters-7d297872.pth",
    "squeezenet1_0": "squeezenet1_0_imagenet.pth",
}
NAMINGS = {"highres3dnet": "fepegar_highresnet"}
KINDS = ("plain", "published", "own")
PRELOADED = [
    "torch",
    "torchvision",
    "monai.networks.nets",
    "medtl_monai.networks.medicalnet",
    "medtl_monai.weights.load",
]
BARS = {"time": 1.2, "memory": 1.3}


def load_plain(network: nn.Module, path: Path, naming: str) -> None:
    """What most programs do."""
    state = torch.load(path, map_location="cpu")
    network.load_state_dict(rename(state, naming) if naming else state)


def load_faithfully(network: nn.Module, path: Path, naming: str, expected: str | None) -> None:
    """All that this library does between a file and a filled network."""
    state, sha256 = read_state_with_hash(path, expected)
    if naming:
        state = rename(state, naming)
    report = match_state(network, state, source=path.name, sha256=sha256)
    fill_network(network, state, report)
    report.table()


def high_water_bytes(reset: bool = False) -> int:
    """Largest resident memory since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def busy_seconds() -> float:
    """CPU time that all programs together have used since the machine started (Linux)."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def measure(kind: str, name: str, path: Path, expected: str, tiny: Path, realtime: bool) -> dict:
    """Runs in a fresh process: seconds of the first load and of three more, bytes of peak memory of the first."""
    torch.set_num_threads(1)
    naming = NAMINGS.get(name, "")

    def load(network: nn.Module, path: Path, naming: str, expected: str) -> float:
        start = time.perf_counter()
        if kind == "plain":
            load_plain(network, path, naming)
        else:
            load_faithfully(network, path, naming, expected if kind == "published" else None)
        return time.perf_counter() - start

    load(nn.Linear(2, 2), tiny, "", sha256_of(tiny))
    network = NETWORKS[name]()
    sha256_of(path)  # into the page cache
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    before = high_water_bytes(reset=True)
    busy, own, start = busy_seconds(), time.process_time(), time.perf_counter()
    first = load(network, path, naming, expected)
    peak = high_water_bytes() - before
    again = [load(network, path, naming, expected) for _ in range(3)]
    others = (busy_seconds() - busy - (time.process_time() - own)) / (time.perf_counter() - start)
    return {"first_s": first, "again_s": statistics.median(again), "peak_bytes": peak, "others": max(others, 0.0)}


def write_files(folder: Path) -> list[dict]:
    """The eight files: the two real ones as they are, and the rest with the same or with random tensors."""
    rows = []
    for name, build in NETWORKS.items():
        real = find_real(REAL[name]) if name in REAL else None
        torch.manual_seed(1)
        state = build().state_dict() if real is None else torch.load(real, map_location="cpu")
        for style in ("zip", "legacy"):
            path = folder / f"{name}_{style}.pth"
            if real is not None and (real.read_bytes()[:2] == b"PK") == (style == "zip"):
                path = real
            else:
                torch.save(state, path, _use_new_zipfile_serialization=style == "zip")
            rows.append(
                {
                    "network": name,
                    "format": style,
                    "published_file": path == real,
                    "path": path,
                    "megabytes": round(path.stat().st_size / 1e6, 2),
                    "tensors": len(state),
                }
            )
    return rows


def find_real(name: str) -> Path:
    """A published file in ``MEDTL_WEIGHTS`` or one folder below."""
    return next(path for pattern in (name, f"*/{name}") for path in sorted(WEIGHTS.glob(pattern)))


def summary(raw: dict[str, list[dict]]) -> dict:
    """Medians of each kind, and the ratios of the faithful ones to plain."""
    medians = {
        kind: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for kind, runs in raw.items()
    }
    plain = medians["plain"]
    ratios = {
        kind: {
            "time_first": round(medians[kind]["first_s"] / plain["first_s"], 3),
            "time_again": round(medians[kind]["again_s"] / plain["again_s"], 3),
            "memory": round(medians[kind]["peak_bytes"] / plain["peak_bytes"], 3),
        }
        for kind in KINDS[1:]
    }
    return {
        "median_ms_first": {kind: round(1e3 * row["first_s"], 2) for kind, row in medians.items()},
        "median_ms_again": {kind: round(1e3 * row["again_s"], 2) for kind, row in medians.items()},
        "median_peak_mb": {kind: round(row["peak_bytes"] / 1e6, 2) for kind, row in medians.items()},
        "median_others_cores": {kind: round(row["others"], 2) for kind, row in medians.items()},
        "ratio_to_plain": ratios,
        "raw": {
            kind: {
                "first_ms": [round(1e3 * run["first_s"], 2) for run in runs],
                "again_ms": [round(1e3 * run["again_s"], 2) for run in runs],
                "peak_mb": [round(run["peak_bytes"] / 1e6, 2) for run in runs],
                "others_cores": [round(run["others"], 2) for run in runs],
            }
            for kind, runs in raw.items()
        },
    }


def measure_all(rows: list[dict], tiny: dict[str, Path], repetitions: int, realtime: bool) -> list[dict]:
    """Summaries of all files. Every repetition goes through all files, so that a disturbance hits no file alone."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    raw: list[dict[str, list[dict]]] = [{kind: [] for kind in KINDS} for _ in rows]
    for repetition in range(repetitions):
        for row, runs in zip(rows, raw, strict=True):
            shift = repetition % len(KINDS)
            for kind in KINDS[shift:] + KINDS[:shift]:
                with context.Pool(1) as pool:
                    job = (kind, row["network"], row["path"], row["sha256"], tiny[row["format"]], realtime)
                    runs[kind].append(pool.apply(measure, job))
        print(f"repetition {repetition + 1} of {repetitions}", flush=True)
    described = [{key: value for key, value in row.items() if key not in {"path", "sha256"}} for row in rows]
    return [{**row, **summary(runs)} for row, runs in zip(described, raw, strict=True)]


def main() -> None:
    """Measure and write the result file."""
    words = sys.argv[1:]
    realtime = "realtime" in words
    repetitions = next((int(word) for word in words if word.isdigit()), 11)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_files(folder)
        tiny = {style: folder / f"tiny_{style}.pth" for style in ("zip", "legacy")}
        for style, path in tiny.items():
            torch.save(nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=style == "zip")
        for row in rows:
            row["sha256"] = sha256_of(row["path"])
        files = measure_all(rows, tiny, repetitions, realtime)
    for row in files:
        print(row["network"], row["format"], row["megabytes"], row["median_ms_first"], row["ratio_to_plain"])
    result = {
        "command": " ".join(["python benchmarks/loading.py", *words]),
        "date": datetime.date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread for tensors and 1 for hashing",
        "repetitions": repetitions,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "bars": BARS,
        "files": files,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
