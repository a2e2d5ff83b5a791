"""Command lines of studies with the toy bundle, and their start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TOY = Path(__file__).parent / "toy"


@dataclass(frozen=True)
class Place:
    """Folder of a study's data and sources, and the words of a command that needs no time."""

    root: Path

    def words(self, output: str, **changes: object) -> list[str]:
        """The command line; ``changes`` replace options, None removes one, True is a flag."""
        options: dict[str, object] = {
            "bundle": TOY,
            "data": self.root,
            "sources": self.root / "good.pt",
            "strategies": "fine_tune",
            "labelled": "2,4",
            "seeds": 3,
            "rates": "3e-4,1e-3,3e-3",
            "converged": 2,
            "converged_seeds": 2,
            "jobs": 1,
            "output": self.root / output,
        }
        found = ["study"]
        for name, value in {**options, **changes}.items():
            if value is not None:
                found += [f"--{name.replace('_', '-')}", *([] if value is True else str(value).split(" "))]
        return found


def launch(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command in a process of its own, with a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "medtl_monai.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
