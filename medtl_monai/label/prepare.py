"""The folders that MONAI Label's server needs: an app with bundles in it, and studies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from medtl_monai.data.phantom import write_cohort
from medtl_monai.errors import ConfigError, OutputError
from medtl_monai.io.atomic import write_text

STOCK = "stock_main.py"
MAIN = '''"""MONAI Label's bundle app with the additions of medtl-monai; written by `medtl label`."""

import stock_main
from medtl_monai.label.app import Additions
from monailabel.interfaces.app import MONAILabelApp


class App(Additions, stock_main.MyApp, MONAILabelApp):
    """MONAI Label takes the class of this file that names MONAILabelApp as its base."""
'''


def prepare_app(app: Path, stock: Path, bundles: Sequence[Path]) -> list[str]:
    """Make the app folder, or complete the one that is there, and copy bundles into it.

    A bundle that is in the app already stays as it is: its ``model.pt`` may have been trained there.

    Args:
        app: the app folder.
        stock: MONAI Label's own bundle app, of the installed package.
        bundles: bundle folders, with ``configs/inference.json``.

    Returns:
        The names of the bundles that were copied now.

    Raises:
        ConfigError: a folder that is no bundle, two bundles of one name, or an app folder that holds something else.
        OutputError: a file cannot be written.
    """
    _require_bundles(bundles)
    if app.is_dir() and any(app.iterdir()) and not (app / STOCK).is_file():
        raise ConfigError(
            "the app folder holds something else",
            path=app,
            expected="a folder made by this command, or a new one",
            remedy="choose another --app",
        )
    try:
        app.mkdir(parents=True, exist_ok=True)
        if not (app / STOCK).is_file():
            shutil.copytree(
                stock, app, dirs_exist_ok=True, ignore=shutil.ignore_patterns("logs", "model", "__pycache__")
            )
            (app / "main.py").rename(app / STOCK)
        write_text(app / "main.py", MAIN)
        new = [bundle for bundle in bundles if not (app / "model" / bundle.name).exists()]
        for bundle in new:
            shutil.copytree(bundle, app / "model" / bundle.name, ignore=shutil.ignore_patterns("eval", "__pycache__"))
    except OSError as error:
        raise OutputError("the app folder cannot be written", path=app, got=str(error)) from error
    return [bundle.name for bundle in new]


def _require_bundles(bundles: Sequence[Path]) -> None:
    names = [bundle.name for bundle in bundles]
    for bundle in bundles:
        if not (bundle / "configs" / "inference.json").is_file():
            raise ConfigError("not a bundle", path=bundle, expected="a folder with configs/inference.json")
        if not any((bundle / "models" / name).is_file() for name in ("model.pt", "model.ts")):
            raise ConfigError(
                "the bundle has no weights, and MONAI Label would pass over it",
                path=bundle / "models",
                expected="models/model.pt",
                remedy="train it first",
            )
    if len(set(names)) < len(names):
        raise ConfigError("bundles of one name", expected="a name of its own for each", got=", ".join(names))


def write_phantom_studies(studies: Path, count: int) -> list[str]:
    """Put ``count`` synthetic MR crops (NIfTI, no patient in them) into a studies folder that has no scans yet.

    Returns:
        The names of the scans; none if the folder has scans already.

    Raises:
        OutputError: the folder cannot be written.
    """
    if studies.is_dir() and any(studies.glob("*.nii*")):
        return []
    try:
        studies.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            cases = write_cohort(folder, range(count), contrast="target", prefix="phantom")
            for case in cases:
                shutil.move(Path(folder, "images", f"{case}.nii.gz"), studies / f"{case}.nii.gz")
    except OSError as error:
        raise OutputError("the studies folder cannot be written", path=studies, got=str(error)) from error
    return cases
