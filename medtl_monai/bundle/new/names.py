"""Names that every tool can take: of the bundle, and of labels and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from medtl_monai.errors import ConfigError, LabelError

TASKS = ("segmentation", "classification")
_OTHER_TASKS = ("deepedit", "deepgrow", "detection")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NO_WORDS = {*TASKS, "ct", "mr", "mri", "t1", "t2", "flair", "dwi", "pet", "slice", "slices", "2d", "3d"}


def require_bundle_name(name: str, task: str) -> None:
    """Refuse a name by which MONAI's tools would take the bundle for something else.

    Raises:
        ConfigError: not a plain name, no word for the task or one for another, or ``_v``, where tools cut names off.
    """
    words = [word for word in (*_OTHER_TASKS, *TASKS) if word in name.lower()]
    if not _NAME.fullmatch(name) or "_v" in name:
        raise ConfigError(
            f"{name!r} cannot be the name of a bundle",
            expected="a letter, then letters, digits and _, without '_v', where tools cut a version off",
            remedy=f"choose a name such as liver_ct_{task}",
        )
    if words != [task]:
        stem = re.sub("|".join((*_OTHER_TASKS, *TASKS)), "", name, flags=re.IGNORECASE).strip("_")
        raise ConfigError(
            f"the name {name!r} does not say the task, by which MONAI Label knows it",
            expected=f"the word {task} in the name, and no other task",
            got=", ".join(words) or "none",
            remedy=f"call it {stem or 'my'}_{task}",
        )


def require_output(folder: Path, task: str) -> None:
    """Refuse a folder that is there, or whose name or place cannot be a bundle's.

    Raises:
        ConfigError: it exists, its parent does not, or see `require_bundle_name`.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            "this folder exists, and nothing is overwritten", path=folder, remedy="choose another --output"
        )
    if not folder.parent.is_dir():
        raise ConfigError("no such folder", path=folder.parent, remedy="make it first")
    require_bundle_name(folder.name, task)


def require_label_names(names: Mapping[int, str]) -> None:
    """Refuse names that MONAI would evaluate, or that are no text of one line; all at once.

    In a configuration a text that starts with ``$`` is a program, with ``@`` or ``%`` a reference.

    Raises:
        LabelError: names every one that cannot be used, and those that differ by capitals alone.
    """
    bad = [f"{value}={name!r}" for value, name in sorted(names.items()) if not _is_plain(name)]
    seen: dict[str, int] = {}
    for value, name in sorted(names.items()):
        if seen.setdefault(name.strip().casefold(), value) != value:
            bad.append(f"{value}={name!r} again, as {seen[name.strip().casefold()]}")
    if bad:
        raise LabelError(
            f"{len(bad)} names cannot be used: {', '.join(bad)}",
            expected="different texts of one line, without $ @ % { }",
            remedy="name them with --labels VALUE=NAME ..., or rename the folders or the values in the table",
        )


def _is_plain(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and not set(name) & set("$@%{}")


def subject_words(name: str) -> str:
    """What a bundle's name is about, in words: ``liver_ct_segmentation`` is about ``Liver``; empty if nothing is."""
    words = [word for word in name.lower().split("_") if word and word not in _NO_WORDS]
    return " ".join(words).capitalize()


def title(name: str) -> str:
    """A bundle's name as a title: ``Liver CT segmentation``."""
    capitals = {"ct", "mr", "mri", "t1", "t2", "pet", "2d", "3d", "dwi", "flair"}
    words = [word.upper() if word.lower() in capitals else word for word in name.split("_") if word]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])
