"""Masks in 3D Slicer's own core, imported and exported with the calls that the MONAI Label plugin makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
from conftest import LABEL_NAMES, SEGMENTER, save_nifti, slicer_request
from label_server import Server
from masks import read_mask, read_nrrd

from medtl_monai.data.label_order import value_map
from medtl_monai.data.phantom import make_phantom
from medtl_monai.errors import LabelError

FRONT, BACK = LABEL_NAMES["1"], LABEL_NAMES["2"]
SESSION = Path(__file__).with_name("slicer_session.py")


def in_slicer(python: Path, folder: Path, image: Path, mask: Path, segments: list[str], **more: str) -> dict[str, Any]:
    """One session; the report of `slicer_session.py`, with the exported voxels and affine."""
    request = {"image": str(image), "mask": str(mask), "names": [FRONT, BACK], "segments": segments, **more}
    request["export"] = str(folder / "export.nii.gz")
    (folder / "request.json").write_text(json.dumps(request))
    words = [str(python), str(SESSION), str(folder / "request.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["imported"]
    assert report["saved"]
    return report | dict(zip(("voxels", "affine"), read_mask(folder / "export.nii.gz"), strict=True))


@pytest.fixture(scope="module")
def lia(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A phantom in LIA order, its image as NIfTI and its label as NRRD."""
    folder, phantom = tmp_path_factory.mktemp("lia"), make_phantom(90)
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt("LIA"))
    image, label = (
        nib.Nifti1Image(voxels, phantom.affine).as_reoriented(turn)
        for voxels in (np.rint(phantom.image).astype(np.int16), phantom.label)
    )
    save_nifti(np.asarray(image.dataobj), image.affine, folder / "image.nii.gz")
    save_nifti(np.asarray(label.dataobj), label.affine, folder / "label.nii.gz")
    itk.imwrite(itk.imread(str(folder / "label.nii.gz")), str(folder / "label.nrrd"))
    return SimpleNamespace(
        image=folder / "image.nii.gz", mask=folder / "label.nrrd", label=np.asarray(label.dataobj), affine=image.affine
    )


def test_the_way_there_and_back_changes_nothing(slicer_python: Path, lia: SimpleNamespace, tmp_path: Path) -> None:
    report = in_slicer(slicer_python, tmp_path, lia.image, lia.mask, [FRONT, BACK])
    assert nib.aff2axcodes(lia.affine) == ("L", "I", "A")
    for affine in report["affines"].values():
        np.testing.assert_allclose(affine, report["affines"]["image"], atol=1e-4)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(report["voxels"], report["affine"]))
    expected = nib.as_closest_canonical(nib.Nifti1Image(lia.label, lia.affine))
    np.testing.assert_array_equal(canonical.get_fdata(), expected.get_fdata())
    np.testing.assert_allclose(canonical.affine, expected.affine, atol=1e-4)


def test_slicer_numbers_by_its_own_order_and_names_repair_it(
    slicer_python: Path, lia: SimpleNamespace, tmp_path: Path
) -> None:
    report = in_slicer(slicer_python, tmp_path, lia.image, lia.mask, [BACK, "kidney", FRONT])
    assert (report["voxels"] == 3).sum() == (lia.label == 1).sum()  # the trap: front is 3 now
    named = [(row["name"], row["idx"]) for row in report["label_info"]]
    order = value_map(named, np.unique(report["voxels"]).tolist(), LABEL_NAMES)
    assert order == {0: 0, 1: 2, 3: 1}


def test_the_plugin_s_wrong_numbers_are_refused(slicer_python: Path, lia: SimpleNamespace, tmp_path: Path) -> None:
    """A segment called background shifts the numbers that are sent, but not those in the file."""
    report = in_slicer(slicer_python, tmp_path, lia.image, lia.mask, ["background", FRONT, BACK])
    assert [row["idx"] for row in report["label_info"]] == [2, 3]
    assert set(np.unique(report["voxels"])) == {0, 1, 2}
    with pytest.raises(LabelError, match="delete the segments background"):
        value_map([(row["name"], row["idx"]) for row in report["label_info"]], [0, 1, 2], LABEL_NAMES)


def test_the_server_s_mask_in_slicer(
    server: Server, slicer_python: Path, studies: SimpleNamespace, tmp_path: Path
) -> None:
    file, _ = server.client.infer(SEGMENTER, "lia", slicer_request(server, SEGMENTER))
    picture = tmp_path / "picture.png"
    image = studies.folder / "lia.nii.gz"
    report = in_slicer(slicer_python, tmp_path, image, Path(file), [FRONT, BACK], picture=str(picture))
    for affine in report["affines"].values():
        np.testing.assert_allclose(affine, report["affines"]["image"], atol=1e-4)
    mask, affine = read_nrrd(file)
    np.testing.assert_allclose(affine, nib.load(image).affine, atol=1e-4)
    sent = nib.as_closest_canonical(nib.Nifti1Image(mask, affine)).get_fdata()
    back = nib.as_closest_canonical(nib.Nifti1Image(report["voxels"], report["affine"])).get_fdata()
    np.testing.assert_array_equal(sent, back)
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size > 20_000  # an empty window is a few kilobytes
