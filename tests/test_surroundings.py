"""The state of the code is that which git itself tells of a real checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from medtl_monai.surroundings import git_state


def git(folder: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | identity
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def test_git_state_of_a_checkout(tmp_path: Path) -> None:
    code = tmp_path / "package"
    code.mkdir()
    (code / "a.py").write_text("1")
    git(tmp_path, "init", "-q")
    assert git_state(code) is None  # not tracked
    git(tmp_path, "add", ".")
    assert git_state(code) is None  # no commit
    git(tmp_path, "-c", "commit.gpgsign=false", "commit", "-qm", "x")
    assert git_state(code) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (code / "a.py").write_text("2")
    assert git_state(code) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": True}
    installed = tmp_path / "venv"
    installed.mkdir()
    (installed / "a.py").write_text("1")
    assert git_state(installed) is None
