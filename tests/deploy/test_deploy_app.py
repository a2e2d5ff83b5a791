"""The applications with the real SDK, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from deploy_scans import CLASSIFIERS, ENVIRONMENT, SEGMENTER, by_command_line, stretched
from seg_file import labels_on_grid

from medtl_monai.data.phantom import write_dicom_series

ADRENAL, HEMORRHAGE = CLASSIFIERS


@lru_cache
def without_network() -> tuple[str, ...]:
    """Words before a command that take the network away from it, where that is allowed."""
    unshare = shutil.which("unshare")
    words = (unshare, "--net") if unshare else ()
    allowed = words and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if allowed else ()


def run_app(python: Path, task: str, bundle: Path, scan: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """One application on one scan."""
    command = [*without_network(), python, "-m", "medtl_monai.deploy.app", "--task", task]
    command += ["--model", bundle / "models" / "model.ts", "--input", scan, "--output", output]
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=False)


def only_file(folder: Path) -> Path:
    """The one file of a folder; hidden ones count."""
    (file,) = folder.iterdir()
    return file


def test_a_series_becomes_a_dicom_segmentation_equal_to_the_command_line(
    deploy_python: Path, exported: dict[str, Path], series: Path, tmp_path: Path
) -> None:
    result = run_app(deploy_python, "segmentation", exported[SEGMENTER], series, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    path = only_file(tmp_path / "out")
    assert result.stdout.strip() == str(path)
    assert path.name.startswith("series_")
    assert path.name.endswith("_seg.dcm")
    wanted = nib.load(only_file(by_command_line(deploy_python, exported[SEGMENTER], series, tmp_path / "cli")))
    mask = np.asarray(wanted.dataobj)
    assert set(np.unique(mask)) == {0, 1, 2}
    assert np.array_equal(labels_on_grid(path, wanted.affine, mask.shape), mask)
    written, source = pydicom.dcmread(path), pydicom.dcmread(next(series.iterdir()))
    assert written.Modality == "SEG"
    for same in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert written[same].value == source[same].value
    names = [segment.SegmentLabel for segment in written.SegmentSequence]
    assert names == ["anterior hippocampus", "posterior hippocampus"]


def test_a_nifti_file_becomes_a_nifti_mask_equal_to_the_command_line(
    deploy_python: Path, exported: dict[str, Path], lia: Path, tmp_path: Path
) -> None:
    result = run_app(deploy_python, "segmentation", exported[SEGMENTER], lia, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = nib.load(tmp_path / "out" / "lia_seg.nii.gz")
    wanted = nib.load(only_file(by_command_line(deploy_python, exported[SEGMENTER], lia, tmp_path / "cli")))
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
    assert np.allclose(found.affine, wanted.affine, atol=1e-6)
    assert nib.aff2axcodes(found.affine) == ("L", "I", "A")


@pytest.mark.parametrize(("name", "image"), [(ADRENAL, "gland"), (HEMORRHAGE, "head")])
def test_probabilities_equal_the_command_line(
    deploy_python: Path,
    exported: dict[str, Path],
    name: str,
    image: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    scan = request.getfixturevalue(image)
    result = run_app(deploy_python, "classification", exported[name], scan, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = json.loads(only_file(tmp_path / "out").read_text())
    cli = by_command_line(deploy_python, exported[name], scan, tmp_path / "cli")
    (wanted,) = json.loads((cli / "predictions.json").read_text())["predictions"]
    assert found["predicted"] == wanted["predicted"]
    assert found["probabilities"].keys() == wanted["probabilities"].keys()
    for label, value in wanted["probabilities"].items():  # rounded to six places
        assert found["probabilities"][label] == pytest.approx(value, abs=1e-6)


def test_a_missing_slice_is_refused_and_nothing_is_written(
    deploy_python: Path, exported: dict[str, Path], series: Path, tmp_path: Path
) -> None:
    gap = Path(shutil.copytree(series, tmp_path / "gap"))
    sorted(gap.iterdir())[20].unlink()
    result = run_app(deploy_python, "segmentation", exported[SEGMENTER], gap, tmp_path / "out")
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("medtl deploy: case series_")
    assert "missing" in last
    assert list((tmp_path / "out").iterdir()) == []


def sdk_reads(python: Path, folder: Path) -> tuple[list[int], np.ndarray]:
    """Shape and affine (RAS mm) that the SDK's operators give."""
    script = Path(__file__).with_name("sdk_reads.py")
    words = [str(python), str(script), str(folder)]
    result = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, check=True)
    found = json.loads(result.stdout.strip().splitlines()[-1])
    return found["shape"], np.array(found["affine"])


def test_why_the_series_operators_of_the_sdk_are_not_used(deploy_python: Path, tmp_path: Path) -> None:
    # If this fails after an update of the SDK, its reading may have become good enough: look again.
    phantom = stretched(83, (1.0, 1.0, 2.0))  # columns 1 mm apart, rows 2 mm
    files = write_dicom_series(phantom, tmp_path / "dcm", seed=83)
    files[20].unlink()
    shape, affine = sdk_reads(deploy_python, tmp_path / "dcm")
    assert shape[0] == len(files) - 1  # the gap is closed without a word ...
    step = np.linalg.norm(affine[:3, :3], axis=0)
    assert step[2] == pytest.approx((len(files) - 1) / (len(files) - 2))  # ... and spread over all slices
    assert step[:2] == pytest.approx([2.0, 1.0])  # and the spacings of rows and columns are taken for one another
