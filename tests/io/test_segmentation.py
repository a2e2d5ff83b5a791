"""Label maps and MONAI's SaveImaged: read back by nibabel, and whole or absent on a full disk."""

from __future__ import annotations

from pathlib import Path

import defects
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from medtl_monai.errors import GeometryError, OutputError
from medtl_monai.io import nifti_save
from medtl_monai.io.nifti import read_nifti
from medtl_monai.io.segmentation import write_label_map
from medtl_monai.io.writer import AtomicNiftiWriter

WRITER = "medtl_monai.io.writer.AtomicNiftiWriter"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("top", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16")])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_come_back(tmp_path: Path, top: int, dtype: str, suffix: str) -> None:
    labels = np.random.default_rng(0).integers(0, top + 1, (7, 6, 5))
    labels[0, 0, 0] = top
    path = tmp_path / f"seg{suffix}"
    write_label_map(labels, defects.AFFINE, path)
    saved = nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), labels)
    np.testing.assert_allclose(saved.affine, defects.AFFINE, atol=1e-5)
    assert saved.get_data_dtype() == np.dtype(dtype)
    assert [int(saved.header[f"{form}_code"]) for form in ("sform", "qform")] == [1, 1]
    assert saved.header.get_xyzt_units()[0] == "mm"
    assert not any(bytes(saved.header[field].tobytes()).strip(b"\0") for field in ("descrip", "aux_file", "db_name"))
    assert names(tmp_path) == [path.name]


def test_all_kinds_of_affine_are_read_again_by_the_strict_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        affine = np.eye(4)
        affine[:3, :3] = nib.eulerangles.euler2mat(*rng.uniform(-np.pi, np.pi, 3)) @ np.diag(rng.uniform(0.3, 5, 3))
        affine[:3, :3] *= rng.choice([-1, 1], 3)
        affine[:3, 3] = rng.uniform(-300, 300, 3)
        if number % 4 == 0:
            affine[0, 2] += 0.4  # sheared
        write_label_map(np.ones((64, 64, 32), int), affine, tmp_path / "seg.nii")
        np.testing.assert_allclose(read_nifti(tmp_path / "seg.nii", kind="label").affine, affine, atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.full((2, 2, 2), 65536), "out of range.*0 to 65535.*65536"),
        (np.full((2, 2, 2), -1), "out of range"),
        (np.full((2, 2, 2), 0.5), "fractions or NaN"),
        (np.full((2, 2, 2), np.nan), "fractions or NaN"),
        (np.ones((2, 2, 2), complex), "not a label map"),
        (np.ones((2, 2)), "not a 3-D label map"),
    ],
)
def test_what_is_not_a_label_map_is_refused(tmp_path: Path, labels: np.ndarray, match: str) -> None:
    with pytest.raises(OutputError, match=match):
        write_label_map(labels, np.eye(4), tmp_path / "a.nii.gz")
    assert names(tmp_path) == []


def test_bad_affine_and_bad_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="singular"):
        write_label_map(np.ones((2, 2, 2)), np.zeros((4, 4)) + np.diag([0, 0, 0, 1]), tmp_path / "a.nii.gz")
    with pytest.raises(OutputError, match=r"expected \.nii\.gz or \.nii, got a\.png"):
        write_label_map(np.ones((2, 2, 2)), np.eye(4), tmp_path / "a.png")


def test_a_file_that_reads_back_differently_is_not_given_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted defect: one voxel is changed on its way to the disk."""
    save = nib.save

    def lossy(image: nib.Nifti1Image, path: Path) -> None:
        voxels = np.asanyarray(image.dataobj).copy()
        voxels[1, 1, 1] += 1
        save(nib.Nifti1Image(voxels, image.affine, image.header), path)

    monkeypatch.setattr(nifti_save.nib, "save", lossy)
    with pytest.raises(OutputError, match="reads back differently"):
        write_label_map(np.ones((3, 3, 3), int), np.eye(4), tmp_path / "a.nii.gz")
    assert names(tmp_path) == []


def test_label_map_on_a_full_disk(tiny_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 128))
    with pytest.raises(OutputError, match=r"ENOSPC.*seg\.nii\.gz"):
        write_label_map(noise, np.eye(4), tiny_disk / "seg.nii.gz")
    assert names(tiny_disk) == []


def prediction(source: Path, shape: tuple[int, ...] = (1, 8, 7, 6)) -> dict[str, MetaTensor]:
    """A random prediction on the grid AFFINE that came from `source`."""
    data = torch.from_numpy(np.random.default_rng(0).integers(0, 200, shape).astype(np.float32))
    meta = {"filename_or_obj": str(source), "spatial_shape": np.array(shape[1:])}
    return {"pred": MetaTensor(data, affine=torch.as_tensor(defects.AFFINE), meta=meta)}


def saver(folder: Path, writer: str | None = WRITER, **options: object) -> SaveImaged:
    """SaveImaged into `folder` without sub-folders."""
    return SaveImaged("pred", output_dir=folder, writer=writer, separate_folder=False, print_log=False, **options)


def test_save_imaged_equals_the_stock_writer(tmp_path: Path) -> None:
    for writer, sub in ((WRITER, "ours"), (None, "stock")):
        for shape in ((1, 8, 7, 6), (3, 8, 7, 6)):
            saver(tmp_path / sub, writer)(prediction(Path(f"c{shape[0]}.nii"), shape))
    for name in ("c1_trans.nii.gz", "c3_trans.nii.gz"):
        ours, stock = nib.load(tmp_path / "ours" / name), nib.load(tmp_path / "stock" / name)
        np.testing.assert_array_equal(np.asanyarray(ours.dataobj), np.asanyarray(stock.dataobj))
        np.testing.assert_array_equal(ours.affine, stock.affine)
        assert ours.get_data_dtype() == stock.get_data_dtype() == np.float32


def test_save_imaged_keeps_nan_and_integer_types(tmp_path: Path) -> None:
    data = prediction(Path("c.nii"))
    data["pred"][0, 0, 0, 0] = torch.nan
    saver(tmp_path)(data)
    assert np.isnan(nib.load(tmp_path / "c_trans.nii.gz").dataobj[0, 0, 0])
    saver(tmp_path, output_dtype=np.uint8, output_postfix="seg")(prediction(Path("c.nii")))
    assert nib.load(tmp_path / "c_seg.nii.gz").get_data_dtype() == np.uint8


def test_full_disk_stock_reports_success_and_ours_refuses(tiny_disk: Path) -> None:
    """Side by side on one full disk: the stock writers hide the failure behind a broken file, ours does not."""
    data = prediction(Path("case.nii"), (1, 100, 100, 100))
    data["pred"] = data["pred"] + torch.rand(data["pred"].shape, generator=torch.Generator().manual_seed(0))
    saver(tiny_disk, None)(data)  # no exception
    (left,) = list(tiny_disk.iterdir())
    with pytest.raises((EOFError, OSError, ValueError)):
        np.asanyarray(nib.load(left).dataobj)
    left.unlink()
    with pytest.raises(RuntimeError) as caught:
        saver(tiny_disk)(data)
    assert "ENOSPC" in str(caught.value)
    assert str(tiny_disk / "case_trans.nii.gz") in str(caught.value)
    assert names(tiny_disk) == []


def test_row58_two_inputs_with_one_output_name(tmp_path: Path) -> None:
    first, second = tmp_path / "patient1/image.nii", tmp_path / "patient2/image.nii"
    saver(tmp_path / "out")(prediction(first))
    saver(tmp_path / "out")(prediction(first))  # the same input again is a repetition, not a clash
    with pytest.raises(RuntimeError) as caught:
        saver(tmp_path / "out")(prediction(second))
    for word in ("two inputs have one output name", str(first), str(second)):
        assert word in str(caught.value)
    (tmp_path / "out/image_trans.nii.gz").unlink()
    saver(tmp_path / "out")(prediction(second))


def test_writer_refuses_scale_and_other_names(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="scale is not supported"):
        AtomicNiftiWriter(scale=255)
    with pytest.raises(RuntimeError, match="not a NIfTI name"):
        saver(tmp_path, output_ext=".png")(prediction(Path("c.nii")))
