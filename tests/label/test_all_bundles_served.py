"""All bundles of the library in one server, each asked once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from conftest import save_image, save_nifti, slicer_request
from label_server import Server, start_server
from masks import read_nrrd

from medtl_monai.data.phantom import make_phantom
from medtl_monai.networks.factory import build_network

IMAGES = {
    "hippocampus_mri_segmentation": "hippocampus",
    "hippocampus_mri_slice_segmentation": "hippocampus",
    "abdomen_ct_segmentation": "abdomen",
    "hemorrhage_ct_classification": "slice",
    "adrenal_ct_classification": "gland",
}


@pytest.fixture(scope="module")
def bundles(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of all bundles; those that come without weights get initial ones."""
    folder, copies = tmp_path_factory.mktemp("all_bundles"), {}
    for bundle in sorted(path for path in (project / "bundles").iterdir() if path.is_dir()):
        copies[bundle.name] = Path(shutil.copytree(bundle, folder / bundle.name, ignore=shutil.ignore_patterns("eval")))
        model = copies[bundle.name] / "models" / "model.pt"
        if not model.is_file():
            config = json.loads((bundle / "configs" / "inference.json").read_text())
            classes = len(config["label_values"]) if "label_values" in config else config["classes"]
            model.parent.mkdir(exist_ok=True)
            torch.save(build_network(config["network"]["name"], out_channels=classes, seed=1).state_dict(), model)
    return copies


@pytest.fixture(scope="module")
def everything(
    label_python: Path, bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with all bundles and one fitting image for each."""
    folder = tmp_path_factory.mktemp("studies_of_all")
    rng = np.random.default_rng(0)
    save_image(make_phantom(5), folder / "hippocampus.nii.gz")
    hounsfield = np.where(np.hypot(*(np.mgrid[:40, :40] - 20)) < 15, 40, -1000)[..., None] + rng.normal(
        0, 9, (40, 40, 30)
    )
    save_nifti(hounsfield.astype(np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]), folder / "abdomen.nii.gz")
    save_nifti(hounsfield[..., :1].astype(np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]), folder / "slice.nii.gz")
    gland = np.zeros((28, 28, 28), np.uint8)
    gland[8:20, 10:18, 12:16] = 1
    save_nifti(gland, np.eye(4), folder / "gland.nii.gz")
    place = tmp_path_factory.mktemp("server_of_all")
    started = start_server(label_python, place, folder, list(bundles.values()), [])
    yield started
    started.stop()


def test_every_bundle_is_there(everything: Server, bundles: dict[str, Path]) -> None:
    assert set(bundles) == set(IMAGES)
    assert set(bundles) <= set(everything.client.info()["models"])


@pytest.mark.parametrize("name", [name for name in IMAGES if name.endswith("segmentation")])
def test_masks_lie_on_their_scans(everything: Server, name: str) -> None:
    file, _ = everything.client.infer(name, IMAGES[name], slicer_request(everything, name))
    mask, affine = read_nrrd(file)
    image = nib.load(everything.studies / f"{IMAGES[name]}.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(affine, image.affine, atol=1e-5)
    labels = everything.client.info()["models"][name]["labels"]
    assert set(np.unique(mask)) <= {0, *labels.values()}


@pytest.mark.parametrize("name", [name for name in IMAGES if name.endswith("classification")])
def test_classes_come_over_rest(everything: Server, name: str) -> None:
    answer = requests.post(
        f"{everything.url}/infer/{name}",
        params={"image": IMAGES[name], "output": "json"},
        data={"params": "{}"},
        timeout=300,
    )
    assert answer.ok, answer.text
    scores = [row["score"] for row in answer.json()["prediction"]]
    assert len(scores) == 2
    assert sum(scores) == pytest.approx(1, abs=1e-5)
