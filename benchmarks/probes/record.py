"""What every result file says about its making."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "benchmarks" / "results"
DATA = Path(os.environ.get("MEDTL_DATA", PROJECT.parent / "shared" / "data"))
WEIGHTS = PROJECT.parent / "shared" / "weights"
if WEIGHTS.is_dir():
    os.environ.setdefault("MEDTL_WEIGHTS", str(WEIGHTS))


def provenance(program: str) -> dict[str, object]:
    """Command line, date, versions and the machine."""
    return {
        "command": " ".join(["python", f"benchmarks/{program}", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "scikit-learn", "numpy", "medtl-monai")},
        "machine": {"processor": platform.machine(), "torch_threads": torch.get_num_threads()},
    }
