"""The environment of MONAI Deploy (skipped where it is absent), exported bundles, and scans."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from deploy_scans import CLASSIFIERS, SEGMENTER, save_nifti, stretched
from monai.bundle import ckpt_export
from pydicom.uid import CTImageStorage

from medtl_monai.data.phantom import make_phantom, write_dicom_series
from medtl_monai.networks.factory import build_network


@pytest.fixture(scope="session")
def deploy_python(project: Path) -> Path:
    """Python of the environment with MONAI Deploy."""
    given = os.environ.get("MEDTL_DEPLOY_PYTHON")
    python = Path(given) if given else project / ".venv-deploy" / "bin" / "python"
    if not python.is_file():
        pytest.skip("no environment .venv-deploy: run make test-deploy, or set MEDTL_DEPLOY_PYTHON to its python")
    return python.absolute()  # not resolved: a link out of the environment would lose it


@pytest.fixture(scope="session")
def exported(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of three bundles with ``models/model.ts``: the shipped segmentation, two classifiers as initialised."""
    folder = tmp_path_factory.mktemp("exported")
    copies = {}
    for name in (SEGMENTER, *CLASSIFIERS):
        copy = folder / name
        shutil.copytree(project / "bundles" / name, copy, ignore=shutil.ignore_patterns("eval"))
        if name in CLASSIFIERS:
            config = json.loads((copy / "configs" / "inference.json").read_text())
            network = build_network(config["network"]["name"], in_channels=1, out_channels=2, seed=3)
            (copy / "models").mkdir(exist_ok=True)
            torch.save(network.state_dict(), copy / "models" / "model.pt")
        ckpt_export(
            net_id="network_def",
            filepath=str(copy / "models" / "model.ts"),
            ckpt_file=str(copy / "models" / "model.pt"),
            meta_file=str(copy / "configs" / "metadata.json"),
            config_file=str(copy / "configs" / "inference.json"),
        )
        copies[name] = copy
    return copies


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coronal MR series with voxels that are no cubes; rows and columns are spaced differently."""
    folder = tmp_path_factory.mktemp("series") / "mr"
    write_dicom_series(stretched(81, (1.0, 1.1, 0.9)), folder, seed=81)
    return folder


@pytest.fixture(scope="session")
def lia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom larger than the window, in LIA order."""
    phantom = make_phantom(82, shape=(70, 90, 68))
    ras = nib.Nifti1Image(np.rint(phantom.image).astype(np.int16), phantom.affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt("LIA"))
    turned = ras.as_reoriented(turn)
    return save_nifti(np.asarray(turned.dataobj), turned.affine, tmp_path_factory.mktemp("lia") / "lia.nii.gz")


@pytest.fixture(scope="session")
def gland(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary mask, as the classifier of shapes takes it."""
    mask = np.zeros((28, 28, 28), np.uint8)
    mask[8:20, 10:18, 12:16] = 1
    return save_nifti(mask, np.eye(4), tmp_path_factory.mktemp("gland") / "gland.nii.gz")


@pytest.fixture(scope="session")
def head(series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One CT slice as a DICOM file: 0 to 80 HU inside air."""
    dataset = pydicom.dcmread(sorted(series.iterdir())[20])
    pixels = np.zeros((dataset.Rows, dataset.Columns), np.int16)
    pixels[4:-4, 4:-4] = 1024 + np.linspace(0, 80, pixels[4:-4, 4:-4].size).reshape(pixels[4:-4, 4:-4].shape)
    dataset.PixelData, dataset.Modality = pixels.tobytes(), "CT"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    path = tmp_path_factory.mktemp("head") / "head.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
