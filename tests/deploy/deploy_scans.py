"""Names of the bundles, phantoms and files, and a bundle's own command, for the tests of the applications."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from medtl_monai.data.phantom import HippocampusPhantom, make_phantom

SEGMENTER = "hippocampus_mri_segmentation"
CLASSIFIERS = ("adrenal_ct_classification", "hemorrhage_ct_classification")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def stretched(seed: int, spacing: tuple[float, float, float]) -> HippocampusPhantom:
    """A phantom whose voxels have another size (I, J, K), in mm."""
    phantom = make_phantom(seed)
    affine = phantom.affine.copy()
    affine[:3, :3] = np.diag(spacing)
    return replace(phantom, affine=affine)


def save_nifti(array: np.ndarray, affine: np.ndarray, path: Path) -> Path:
    """One NIfTI file with equal sform and qform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)
    return path


def by_command_line(python: Path, bundle: Path, data: Path, output: Path) -> Path:
    """The folder that the bundle's own inference command has written."""
    command = [python, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"]
    command += ["--bundle_root", bundle, "--dataset_dir", data, "--output_dir", output]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=ENVIRONMENT, timeout=240)
    return output
