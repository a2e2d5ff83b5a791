"""Why a weights file cannot be read, in words that lead to a remedy."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

_FETCH = "fetch the file again"
_SAFE = "a file that holds code is never loaded"
_NO_WEIGHTS = {  # how files begin that were taken for weights
    b"<": "a web page",
    b"version https://git-lfs": "a git-lfs pointer, not the file that it stands for",
}
_GLOBAL = re.compile(r"GLOBAL (\S+) (?:was not an allowed global|whose module \S+ is blocked)")
_MOST_CHARACTERS = 160


def reason_of(error: Exception, path: Path) -> tuple[str, str]:
    """Reason and remedy for an error of the readers. torch's own words suggest to switch the safety off; not here."""
    text = str(error)
    if kind := _kind_of(path):
        return kind, f"{_FETCH}; {_SAFE}"
    if match := _GLOBAL.search(text):
        return _code(match[1]), f"in the program that made it, save `network.state_dict()` alone; {_SAFE}"
    if "TorchScript" in text:
        return "a TorchScript archive, which holds code", f"save `network.state_dict()` alone; {_SAFE}"
    return _plain(error, text), f"{_FETCH}; {_SAFE}"


def _kind_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            start = stream.read(64).lstrip()
    except OSError:
        return ""
    if not start:
        return "empty" if path.stat().st_size == 0 else "blank"
    return next((kind for begin, kind in _NO_WEIGHTS.items() if start.startswith(begin)), "")


def _code(name: str) -> str:
    if name.startswith("torch.nn."):
        return f"a whole pickled network ({name}), not its state dict"
    return f"it asks for {name}, which is code or a pickled object (perhaps a whole network), not a tensor"


def _plain(error: Exception, text: str) -> str:
    if isinstance(error, zipfile.BadZipFile) and "not a zip file" in text:
        return "cut off: the directory at the end of the zip file is missing"
    if isinstance(error, EOFError):
        return "cut off: it ends too early"
    text = text.split("WeightsUnpickler error:")[-1].split("Check the documentation")[0].strip()
    first = (text.splitlines() or [""])[0][:_MOST_CHARACTERS]
    return f"{type(error).__name__}: {first}".rstrip(": ")
