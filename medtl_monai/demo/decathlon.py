"""Tasks of the Medical Segmentation Decathlon as data folders, by MONAI's downloader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtl_monai.data.datalist import make_datalist
from medtl_monai.errors import ConfigError, FormatError

DATALIST, ABOUT = "datalist.json", "dataset.json"
_SEVERAL_CHANNELS = ("Task01_BrainTumour", "Task05_Prostate")


def download_task(task: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Download a task into ``folder/TASK``: ``images/``, ``labels/``, ``dataset.json`` and a ``datalist.json``.

    The archive is checked against MONAI's MD5 and taken away afterwards. A folder that is complete is left as it is.

    Args:
        task: name of the task, such as ``Task09_Spleen``.
        folder: where the task's folder goes; made if absent.
        say: what is told about the progress.

    Returns:
        The task's folder.

    Raises:
        ConfigError: no such task, or one whose images have several channels.
        FormatError: the archive cannot be had, is damaged, or holds something else.
    """
    from monai.apps import DecathlonDataset, download_and_extract
    from monai.apps.utils import HashCheckError

    _require_known(task, DecathlonDataset.resource)
    target = folder / task
    if (target / DATALIST).is_file():
        say(f"{target} is complete")
        return target
    parts = folder / f".{task}.part"
    parts.mkdir(parents=True, exist_ok=True)
    say(f"downloading {task} with MONAI's downloader from {DecathlonDataset.resource[task]}")
    archive = folder / f"{task}.tar"
    address, md5 = DecathlonDataset.resource[task], DecathlonDataset.md5[task]
    try:
        download_and_extract(address, archive, parts, md5, hash_type="md5")
    except (HashCheckError, OSError) as error:
        archive.unlink(missing_ok=True)
        raise FormatError(
            f"{task} could not be downloaded whole",
            path=archive,
            expected=f"the archive with MD5 {md5} from {address}",
            got=str(error).splitlines()[0],
            remedy="try again, or put a folder with images/ and labels/ in its place",
        ) from error
    names = _arrange(parts / task, target)
    shutil.rmtree(parts)
    archive.unlink()
    made = make_datalist(target, validation=0.1, test=0.2, seed=0, label_names=names)
    made.save(target / DATALIST)
    say(f"{target}: {', '.join(f'{len(cases)} {split}' for split, cases in made.splits.items())} cases")
    return target


def _require_known(task: str, known: dict[str, str]) -> None:
    if task in _SEVERAL_CHANNELS:
        raise ConfigError(
            f"the images of {task} have several channels", expected="a task with one image per case", got=task
        )
    if task not in known:
        usable = ", ".join(name for name in known if name not in _SEVERAL_CHANNELS)
        raise ConfigError("no such task of the Decathlon", expected=f"one of {usable}", got=task)


def _arrange(source: Path, target: Path) -> dict[int, str]:
    """Move images and labels to where this library looks for them; the names of the labels."""
    try:
        about: dict[str, Any] = json.loads((source / ABOUT).read_text(encoding="utf-8"))
        names = {int(value): str(name) for value, name in about["labels"].items()}
        target.mkdir(parents=True, exist_ok=True)
        for old, new in (("labelsTr", "labels"), ("imagesTr", "images"), (ABOUT, ABOUT)):
            shutil.move(source / old, target / new)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            "the archive is no task of the Decathlon",
            path=source,
            expected="imagesTr, labelsTr and dataset.json with labels",
            got=str(error),
        ) from error
    return {**names, 0: "background"}
