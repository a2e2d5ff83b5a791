"""Anything as plain JSON values that hold no machine's folders, no memory addresses and no NaN."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from medtl_monai.errors import ConfigError

MOST_NUMBERS = 1000  # larger arrays are recorded by their hash
_MOST_LEVELS = 32
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_ROOT = r"(?:file:/{2,3}|(?<![\w/.@~\\-])(?:[A-Za-z]:[\\/]|\\\\|~?/))"  # /, ~/, C:\, \\server\, file://
_NAME = r"[^\s'\"\\/:;,=\[\](){}<>|]+"
# A root and one folder at least inside a text: "/" alone is also a division in a config expression.
FOLDERS = re.compile(rf"{_ROOT}(?:{_NAME}[\\/]+)+")
_WHOLE_PATH = re.compile(r"(?:file://|[A-Za-z]:[\\/]|\\\\|~?/)[^\n]*[^\s\\/][^\n]*")


def plain(value: object, hide: Iterable[str] = (), *, level: int = 0) -> Any:
    """A value as JSON knows it: dict, list, str, int, float, bool or None.

    Numbers that JSON lacks become ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``; sets are sorted; dataclasses become
    objects; arrays lists, or above `MOST_NUMBERS` elements a text with their hash; all other objects their ``repr``
    without memory addresses. Texts lose the folders of absolute paths (see `without_folders`).

    Args:
        value: anything.
        hide: folders whose path is taken out of every text, wherever it stands.
        level: depth of nesting so far.

    Raises:
        ConfigError: two keys of a dict have the same text.
    """
    hidden = tuple(hide)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, PurePath)):
        return _text(str(value), hidden)
    if isinstance(value, (int, float, np.generic)):
        return _number(value, hidden)
    if level >= _MOST_LEVELS:  # also ends a list that contains itself
        return f"<more than {_MOST_LEVELS} levels>"
    return _container(value, hidden, level + 1)


def _number(value: object, hide: tuple[str, ...]) -> Any:
    item = value.item() if isinstance(value, np.generic) else value
    if isinstance(item, float):
        if math.isnan(item):
            return "NaN"
        return float(item) if math.isfinite(item) else ("Infinity" if item > 0 else "-Infinity")
    if isinstance(item, (bool, int)):
        return item if isinstance(item, bool) else int(item)
    return plain(item, hide) if isinstance(item, str) else _repr(item, hide)


def _container(value: object, hide: tuple[str, ...], level: int) -> Any:
    if isinstance(value, Mapping):
        return _object(value, hide, level)
    if isinstance(value, (list, tuple)):
        return [plain(item, hide, level=level) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, hide, level=level) for item in value), key=repr)
    if isinstance(value, np.ndarray):
        return _array(value, hide, level)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name), hide, level=level) for name in names}
    return _repr(value, hide)


def _object(value: Mapping[Any, Any], hide: tuple[str, ...], level: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        text = without_folders(str(key), hide)
        if text in result:
            raise ConfigError(f"two keys are the same as text: {text!r}", remedy="give them different names")
        result[text] = plain(item, hide, level=level)
    return result


def _array(value: np.ndarray, hide: tuple[str, ...], level: int) -> Any:
    if value.size <= MOST_NUMBERS:
        return plain(value.tolist(), hide, level=level)
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return f"array {value.dtype} {value.shape} sha256 {digest}"


def _repr(value: object, hide: tuple[str, ...]) -> str:
    return without_folders(_ADDRESS.sub("", repr(value)), hide)


def _text(text: str, hide: tuple[str, ...]) -> str:
    if _WHOLE_PATH.fullmatch(text):  # blanks in it are part of the path
        return re.split(r"[\\/]+", text.rstrip("\\/ "))[-1]
    return without_folders(text, hide)


def without_folders(text: str, hide: Iterable[str] = ()) -> str:
    """A text in which every absolute path is cut down to its last part, because folders name users and patients.

    Inside a text a path ends at a blank, unless it begins with a folder in `hide`. Web addresses stay.
    """
    for folder in sorted({folder.rstrip("/\\") for folder in hide} - {""}, key=len, reverse=True):
        here, name = rf"(?<![\w.~-]){re.escape(folder)}", re.split(r"[\\/]", folder)[-1]
        text = re.sub(rf"{here}[\\/]+(?=[^\s\\/])", "", text)
        text = re.sub(rf"{here}(?![\w.~-])", lambda _, name=name: name, text)  # type: ignore[misc]
    return FOLDERS.sub("", text)


def sha256_of(value: object) -> str:
    """SHA-256 (64 hex digits) of a JSON value, the same for every order of keys.

    Raises:
        ValueError: the value holds NaN or infinity.
        TypeError: the value is not JSON.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
