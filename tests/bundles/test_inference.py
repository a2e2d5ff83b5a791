"""Where the mask lands: on the scan's own grid, in the right place, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from bundle_commands import Finished
from monai.bundle import ConfigWorkflow
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from medtl_monai.data.phantom import make_phantom, write_cohort
from medtl_monai.io.reader import read_volume
from medtl_monai.transforms.steps import Steps

Workflow = Callable[..., ConfigWorkflow]
Predict = Callable[..., Path]
SEED = 50


@pytest.fixture
def predict(workflow: Workflow, tmp_path: Path) -> Predict:
    """``predict(data)`` runs the bundle's inference in this process and gives the folder of the masks."""

    def run(data: Path, **overrides: object) -> Path:
        output = tmp_path / "masks"
        workflow("inference", dataset_dir=str(data), output_dir=str(output), device="cpu", **overrides).run()
        return output

    return run


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom in RAS, and the same voxels stored in another order, tilted, and with thicker slices."""
    folder = tmp_path_factory.mktemp("scans")
    write_cohort(folder, [SEED], contrast="target", prefix="ras")
    ras = nibabel.load(folder / "images" / f"ras_{SEED:04d}.nii.gz")
    shutil.rmtree(folder / "labels")
    for code in ("LIA", "PSR"):
        order = ornt_transform(io_orientation(ras.affine), axcodes2ornt(code))
        nibabel.save(ras.as_reoriented(order), folder / "images" / f"{code}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(ras.dataobj), tilted(ras.affine)), folder / "images" / "oblique.nii.gz")
    thick = ras.affine @ np.diag([0.8, 1.0, 2.0, 1.0])
    voxels = ndimage.zoom(np.asarray(ras.dataobj, dtype=np.float32), (1 / 0.8, 1, 0.5), order=1)
    nibabel.save(nibabel.Nifti1Image(voxels, thick), folder / "images" / "thick.nii.gz")
    return folder


def tilted(affine: np.ndarray) -> np.ndarray:
    """An affine turned by 20 and 15 degrees about two axes: the nearest axis codes stay RAS."""
    turn = np.eye(4)
    for axis, degrees in ((0, 20.0), (2, 15.0)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step = np.eye(4)
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        step[a, a], step[b, b], step[a, b], step[b, a] = c, c, -s, s
        turn = step @ turn
    return turn @ affine


def centre_mm(mask: nibabel.Nifti1Image) -> np.ndarray:
    """Centre of a mask in world coordinates, mm."""
    indices = np.argwhere(np.asarray(mask.dataobj) > 0)
    return (mask.affine @ [*indices.mean(0), 1])[:3]


def test_masks_lie_on_the_scans_own_grids(predict: Predict, scans: Path) -> None:
    masks = predict(scans)
    images = sorted((scans / "images").iterdir())
    assert len(images) == 5
    for path in images:
        image, mask = nibabel.load(path), nibabel.load(masks / path.name.replace(".nii.gz", "_seg.nii.gz"))
        assert mask.shape == image.shape
        np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}

    ras = nibabel.load(masks / f"ras_{SEED:04d}_seg.nii.gz")
    assert (np.asarray(ras.dataobj) > 0).sum() > 200  # else the comparisons below would be empty
    for code in ("LIA", "PSR"):
        turned = nibabel.as_closest_canonical(nibabel.load(masks / f"{code}_seg.nii.gz"))
        np.testing.assert_array_equal(turned.dataobj, ras.dataobj)
        np.testing.assert_allclose(turned.affine, ras.affine, atol=1e-4)
    oblique = nibabel.load(masks / "oblique_seg.nii.gz")
    np.testing.assert_array_equal(oblique.dataobj, ras.dataobj)
    np.testing.assert_allclose(centre_mm(oblique), (tilted(np.eye(4)) @ [*centre_mm(ras), 1])[:3], atol=1e-3)
    thick = nibabel.load(masks / "thick_seg.nii.gz")
    assert np.linalg.norm(centre_mm(thick) - centre_mm(ras)) < 2.0  # the voxel of 2 mm


def test_a_dicom_series_gives_the_mask_of_the_same_nifti(predict: Predict, scans: Path, series: Path) -> None:
    dicom = nibabel.load(predict(series) / f"{series.name}_seg.nii.gz")
    source = read_volume(series)
    assert dicom.shape == source.array.shape
    np.testing.assert_allclose(dicom.affine, source.affine, atol=1e-4)
    nifti = nibabel.load(predict(scans / "images" / f"ras_{SEED:04d}.nii.gz") / f"ras_{SEED:04d}_seg.nii.gz")
    canonical = nibabel.as_closest_canonical(dicom)
    np.testing.assert_allclose(canonical.affine, nifti.affine, atol=1e-3)
    different = np.asarray(canonical.dataobj) != np.asarray(nifti.dataobj)
    assert different.mean() < 1e-3  # rounding of the slice positions


def test_the_phantom_is_found(predict: Predict, scans: Path) -> None:
    mask = nibabel.load(predict(scans / "images" / f"ras_{SEED:04d}.nii.gz") / f"ras_{SEED:04d}_seg.nii.gz")
    truth = make_phantom(SEED).label > 0
    found = np.asarray(mask.dataobj) > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.4


def test_a_real_series_gives_a_plausible_hippocampus(predict: Predict, real_data: Path) -> None:
    folder = real_data / "brain_mr_dicom" / "hippocampus_crop"
    if not folder.is_dir():
        pytest.skip("no real DICOM series")
    mask = nibabel.load(predict(folder) / "hippocampus_crop_seg.nii.gz")
    source = read_volume(folder)
    assert mask.shape == source.array.shape
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-4)
    voxels = np.asarray(mask.dataobj)
    assert set(np.unique(voxels)) == {0, 1, 2}
    volume_ml = (voxels > 0).sum() * abs(np.linalg.det(mask.affine[:3, :3])) / 1000
    assert 1.0 < volume_ml < 5.0  # one adult hippocampus has about 3 ml


def test_labels_path_key_passes(workflow: Workflow, scans: Path, tmp_path: Path) -> None:
    """MONAI Label adds the text ``image_path``; Spacingd takes every key image_* for metadata."""
    path = str(scans / "images" / "thick.nii.gz")
    data = [{"image": path, "image_path": path}]
    made = workflow("inference", **{"dataset#data": data, "output_dir": str(tmp_path / "m"), "device": "cpu"})
    made.run()
    assert made.evaluator.state.batch[0]["image_path"] == path
    made = workflow("inference", **{"dataset#data": data, "output_dir": str(tmp_path / "m"), "device": "cpu"})
    (steps,) = [step for step in made.preprocessing.transforms if isinstance(step, Steps)]
    steps.steps = tuple(step for step in steps.steps if type(step).__name__ != "DeleteItemsd")  # the cure taken away
    with pytest.raises(RuntimeError, match=r"applying transform .*Steps") as caught:
        made.evaluator.run()
    assert "'str' object has no attribute 'update'" in str(caught.value.__cause__)


def test_empty_and_absent_folders_are_refused(command: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, words in {"empty": "nothing readable", "absent": "no such folder"}.items():
        options = {"config_file": "configs/inference.json", "dataset_dir": tmp_path / name}
        finished = command("run", **options, output_dir=tmp_path / "masks")
        assert finished.code == 1
        assert words in finished.output
        assert name in finished.output
    assert not (tmp_path / "masks").exists()


def test_a_damaged_scan_is_refused_by_name(command: Callable[..., Finished], scans: Path, tmp_path: Path) -> None:
    content = (scans / "images" / "LIA.nii.gz").read_bytes()
    (tmp_path / "patient_9.nii.gz").write_bytes(content[: len(content) // 2])
    options = {"config_file": "configs/inference.json", "dataset_dir": tmp_path, "output_dir": tmp_path / "masks"}
    finished = command("run", **options)
    assert finished.code == 1
    assert "patient_9" in finished.output
    assert not list(tmp_path.rglob("*_seg*"))


def test_a_full_disk_ends_with_an_error_and_no_mask(
    command: Callable[..., Finished], scans: Path, tiny_disk: Path
) -> None:
    free = int(
        subprocess.run(["df", "-B1", "--output=avail", tiny_disk], capture_output=True, text=True).stdout.split()[1]
    )
    (tiny_disk / "filler").write_bytes(bytes(free))
    options = {"config_file": "configs/inference.json", "dataset_dir": scans / "images" / "LIA.nii.gz"}
    finished = command("run", **options, output_dir=tiny_disk)
    assert finished.code == 1
    assert "ENOSPC" in finished.output
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]
