"""The environments of MONAI Label and of Slicer's core (skipped where they are absent), and one server for all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from label_server import Server, start_server

from medtl_monai.data.phantom import HippocampusPhantom, make_phantom
from medtl_monai.networks.factory import build_network

SEGMENTER, CLASSIFIER = "hippocampus_mri_segmentation", "adrenal_ct_classification"
LABEL_NAMES = {"0": "background", "1": "anterior hippocampus", "2": "posterior hippocampus"}
LABELLED = ("phantom_0", "phantom_1", "phantom_2", "phantom_3", "phantom_4")


def _python(project: Path, variable: str, folder: str, target: str) -> Path:
    given = os.environ.get(variable)
    python = Path(given) if given else project / folder / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"no environment {folder}: run make {target}, or set {variable} to the environment's python")
    return python.absolute()  # not resolved: a link out of the environment would lose it


@pytest.fixture(scope="session")
def label_python(project: Path) -> Path:
    """Python of the environment with MONAI Label."""
    pytest.importorskip("cgi", reason="the plugin's client imports cgi, which Python 3.13 no longer has")
    return _python(project, "MEDTL_LABEL_PYTHON", ".venv-label", "test-label")


@pytest.fixture(scope="session")
def slicer_python(project: Path) -> Path:
    """Python of the environment with slicer-core."""
    return _python(project, "MEDTL_SLICER_PYTHON", ".venv-slicer", "test-label")


def save_nifti(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """One NIfTI file with equal sform and qform."""
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)


def save_image(phantom: HippocampusPhantom, path: Path) -> None:
    """The phantom's image in int16."""
    save_nifti(np.rint(phantom.image).astype(np.int16), phantom.affine, path)


@pytest.fixture(scope="session")
def label_bundles(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of a segmentation bundle and of a classification bundle, the latter with initial weights."""
    folder = tmp_path_factory.mktemp("label_bundles")
    copies = {}
    for name in (SEGMENTER, CLASSIFIER):
        kept = shutil.ignore_patterns("eval", "*.json.bak")
        copies[name] = Path(shutil.copytree(project / "bundles" / name, folder / name, ignore=kept))
    # Of another network, and with a shorter name: MONAI Label would offer it first, and load nothing from it.
    torch.save({"other.weight": torch.zeros(3)}, copies[SEGMENTER] / "models" / "old.pt")
    torch.save({"network": {}, "epoch": 1}, copies[SEGMENTER] / "models" / "last.ckpt")  # as a training leaves it
    config = json.loads((copies[CLASSIFIER] / "configs" / "inference.json").read_text())
    network = build_network(config["network"]["name"], out_channels=2, seed=3)
    (copies[CLASSIFIER] / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), copies[CLASSIFIER] / "models" / "model.pt")
    return copies


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A studies folder: five phantoms, one in LIA order, one larger than a window, one mask; and the phantoms."""
    folder = tmp_path_factory.mktemp("studies")
    phantoms = {name: make_phantom(60 + number) for number, name in enumerate(LABELLED)}
    for name, phantom in phantoms.items():
        save_image(phantom, folder / f"{name}.nii.gz")
    ras = nib.Nifti1Image(np.rint(make_phantom(70).image).astype(np.int16), phantoms["phantom_0"].affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt("LIA"))
    turned = ras.as_reoriented(turn)
    save_nifti(np.asarray(turned.dataobj), turned.affine, folder / "lia.nii.gz")
    save_image(make_phantom(71, shape=(70, 100, 72)), folder / "large.nii.gz")
    mask = np.zeros((28, 28, 28), np.uint8)
    mask[8:20, 10:18, 12:16] = 1
    save_nifti(mask, np.eye(4), folder / "gland.nii.gz")
    return SimpleNamespace(folder=folder, phantoms=phantoms)


@pytest.fixture(scope="session")
def server(
    label_python: Path,
    label_bundles: dict[str, Path],
    studies: SimpleNamespace,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server with both bundles and uncertainty scoring on."""
    folder = tmp_path_factory.mktemp("label_server")
    started = start_server(label_python, folder, studies.folder, list(label_bundles.values()), ["--uncertainty"])
    yield started
    started.stop()


def slicer_request(server: Server, model: str, **changes: Any) -> dict[str, Any]:
    """What Slicer sends with an inference: every setting shown for the model, and how the mask is to be written."""
    shown = server.client.info()["models"][model]["config"]
    chosen = {key: value[0] if isinstance(value, list) else value for key, value in shown.items()}
    return {**chosen, "result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, **changes}
