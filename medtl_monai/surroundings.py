"""What a run runs in: the state of the code in git and the memory used so far."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_GIT_TIMEOUT_S = 10.0


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout that tracks the code in a folder.

    Returns:
        ``{"commit": hash, "dirty": bool}``, dirty if a file under the folder differs from the commit or is not
        tracked; None where git does not track the folder (an installed package, even inside another checkout), has
        no commit or is not there.
    """
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--", ".")
    return None if not commit or status is None else {"commit": commit, "dirty": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    # A hook that calls us sets GIT_DIR to its own repository; optional locks would disturb a git that works there.
    unset = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {key: value for key, value in os.environ.items() if key not in unset} | {"GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far in MB (2**20 bytes); None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # bytes on macOS, KiB elsewhere
