"""Choosing the reader, agreement with ITK on real series, and life inside MONAI's transforms."""

from __future__ import annotations

from pathlib import Path

import defects
import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    Spacingd,
)
from monai.utils.enums import MetaKeys, SpaceKeys

from medtl_monai.errors import FormatError, GeometryError, LabelError, MedTLError
from medtl_monai.io.reader import VolumeReader, read_volume

READER = "medtl_monai.io.reader.VolumeReader"
WRITER = "medtl_monai.io.writer.AtomicNiftiWriter"
SERIES = ["brain_mr_dicom/hippocampus_crop", "brain_mr_dicom/t1_5mm", "abdomen_ct/dicom", "ct_with_dicom_seg/ct"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def chain(error: BaseException | None) -> list[BaseException]:
    """The exception and its causes."""
    return [] if error is None else [error, *chain(error.__cause__)]


def test_nifti_by_name_and_dicom_by_content(tmp_path: Path) -> None:
    nifti = defects.save_nifti(tmp_path / "a.nii.gz", defects.image())
    folder = defects.save_series(defects.series(), tmp_path / "s")
    bare = defects.save(defects.series(1)[0], tmp_path / "IM0001")
    assert read_volume(nifti).case_id == "a"
    assert read_volume(folder).array.shape == (10, 8, 6)
    assert read_volume(folder / "im000.dcm", case_id="x").case_id == "x"
    assert read_volume(str(bare)).array.shape == (10, 8, 1)


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("absent.nii.gz", "case absent: .*nothing at this path"),
        ("absent", "nothing at this path"),
        ("picture.png", "a file of another kind .\\.png"),
        ("empty", "a folder without DICOM files"),
    ],
)
def test_other_paths_are_refused_with_the_supported_kinds(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=got) as caught:
        read_volume(tmp_path / name)
    assert ".nii or .nii.gz file, a DICOM file, or a folder" in str(caught.value)


def test_labels_are_nifti_only(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read as a label map"):
        read_volume(defects.save_series(defects.series(), tmp_path / "s"), kind="label")


@pytest.mark.parametrize("name", SERIES)
def test_real_series_agree_with_itk(real_data: Path, name: str) -> None:
    volume = read_volume(real_data / name)
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(real_data / name))
    reference = itk.imread(list(names.GetFileNames(names.GetSeriesUIDs()[0])), itk.F)
    values = itk.array_view_from_image(reference)
    rng = np.random.default_rng(0)
    for _ in range(50):
        index = [int(rng.integers(size)) for size in volume.array.shape]
        right, anterior, superior, _ = volume.affine @ [*index, 1]
        other = np.array(list(reference.TransformPhysicalPointToContinuousIndex([-right, -anterior, superior])))
        nearest = np.rint(other).astype(int)
        np.testing.assert_allclose(other, nearest, atol=1e-3)
        assert volume.array[tuple(index)] == values[tuple(nearest[::-1])]


def test_real_slice_spacing_comes_from_positions_not_thickness(real_data: Path) -> None:
    """SliceThickness says 3 mm, the slices are 2 mm apart; the label map made for this series says 2 mm as well."""
    volume = read_volume(real_data / "abdomen_ct/dicom")
    labels = nib.load(real_data / "abdomen_ct/dicom_pseudo_labels.nii.gz")
    assert volume.spacing[2] == pytest.approx(2.0)
    np.testing.assert_allclose(volume.spacing, labels.header.get_zooms(), atol=1e-4)
    corners = [np.sort((grid @ [[0, 511], [0, 511], [0, 19], [1, 1]])[:3]) for grid in (volume.affine, labels.affine)]
    np.testing.assert_allclose(corners[0], corners[1], atol=0.01)


def test_monai_uses_the_same_key_names() -> None:
    keys = {MetaKeys.AFFINE, MetaKeys.ORIGINAL_AFFINE, MetaKeys.SPATIAL_SHAPE, MetaKeys.SPACE}
    assert {str(key.value) for key in keys} == {"affine", "original_affine", "spatial_shape", "space"}
    assert SpaceKeys.RAS.value == "RAS"
    assert MetaKeys.ORIGINAL_CHANNEL_DIM.value == "original_channel_dim"


def test_meta_of_get_data(tmp_path: Path) -> None:
    path = defects.save_nifti(tmp_path / "a.nii.gz", defects.image(dtype="uint16"))
    reader = VolumeReader()
    array, meta = reader.get_data(reader.read(path))
    assert (array.shape, array.dtype) == ((6, 5, 4), np.int32)
    assert meta["original_channel_dim"] == "no_channel"
    assert (meta["space"], meta["case"], meta["filename_or_obj"]) == ("RAS", "a", str(path))
    np.testing.assert_array_equal(meta["affine"], defects.AFFINE)
    assert reader.verify_suffix([path, tmp_path, "b.dcm"])
    assert reader.verify_suffix("b.png")
    assert not reader.verify_suffix("b.txt")


def test_several_files_become_channels(tmp_path: Path) -> None:
    paths = [defects.save_nifti(tmp_path / f"{n}.nii", defects.image() + n) for n in range(2)]
    load = Compose([LoadImaged("image", reader=READER), EnsureChannelFirstd("image")])
    image = load({"image": paths})["image"]
    assert image.shape == (2, 6, 5, 4)
    assert torch.equal(image[1], image[0] + 1)
    paths.append(defects.save_nifti(tmp_path / "moved.nii", defects.image(), sform=np.diag([1, 1, 1.0, 1]), qform=None))
    with pytest.raises(RuntimeError) as caught:
        load({"image": paths})
    assert any(isinstance(error, GeometryError) and "different grids" in str(error) for error in chain(caught.value))


@pytest.mark.parametrize("defect", ["missing slice", "two series"])
def test_a_refusal_is_not_replaced_by_another_reader(tmp_path: Path, defect: str) -> None:
    """MONAI's other readers read these folders without complaint; the refusal must reach the user all the same."""
    datasets = defects.series()
    if defect == "missing slice":
        del datasets[2]
    else:
        datasets += defects.series(5)
    folder = defects.save_series(datasets, tmp_path / "s")
    assert LoadImaged("image")({"image": folder})["image"].ndim == 3
    with pytest.raises((MedTLError, RuntimeError)) as caught:
        LoadImaged("image", reader=READER)({"image": folder})
    assert any(isinstance(error, MedTLError) and str(folder) in str(error) for error in chain(caught.value))


def test_reader_options_pass_through_load_imaged(tmp_path: Path) -> None:
    path = defects.save_nifti(tmp_path / "a.nii", np.full((4, 4, 4), 0.4, np.float32))
    with pytest.raises(LabelError):
        LoadImaged("label", reader=READER, kind="label")({"label": path})


@pytest.mark.parametrize("source", ["nifti", "dicom"])
def test_pipeline_returns_to_the_scans_own_grid(tmp_path: Path, source: str) -> None:
    """Load, reorient, resample, invert and save: a block marked in the scan comes back to its voxels."""
    if source == "nifti":
        turn = nib.eulerangles.euler2mat(0.1, 0.0, 0.2)
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag([-1.0, 1.5, 2.0])
        block = np.zeros((20, 18, 12), np.float32)
        block[4:12, 6:14, 3:9] = 1
        path = defects.save_nifti(tmp_path / "case.nii.gz", block, sform=affine, qform=affine)
    else:
        datasets = defects.series(12, rows=18, columns=20, step=2.0, modality="MR", rescale=None)
        for number, ds in enumerate(datasets):
            stored = np.zeros((18, 20), np.uint16)
            stored[6:14, 4:12] = 3 <= number < 9
            ds.PixelData, ds.PixelSpacing = stored.tobytes(), [1.5, 1.0]
        path = defects.save_series(datasets, tmp_path / "case")
    before = Compose(
        [
            LoadImaged("image", reader=READER),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(0.5, 0.5, 0.5)),
        ]
    )
    data = before({"image": path})
    image = data["image"]
    data["pred"] = MetaTensor(
        (torch.as_tensor(image) > 0.5).float(), meta=image.meta, applied_operations=image.applied_operations
    )
    save = SaveImaged("pred", output_dir=tmp_path / "out", writer=WRITER, resample=False, print_log=False)
    Compose([Invertd("pred", before, orig_keys="image"), save])(data)
    volume = read_volume(path)
    saved = nib.load(tmp_path / "out/case/case_trans.nii.gz")
    np.testing.assert_allclose(saved.affine, volume.affine, atol=1e-4)
    assert saved.shape == volume.array.shape
    mask, truth = np.asanyarray(saved.dataobj) > 0.5, volume.array > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.97


def test_batches_collate(tmp_path: Path) -> None:
    items = [{"image": defects.save_nifti(tmp_path / f"{n}.nii", defects.image())} for n in range(2)]
    transform = Compose([LoadImaged("image", reader=READER), EnsureChannelFirstd("image")])
    batch = next(iter(DataLoader(Dataset(items, transform), batch_size=2)))
    assert batch["image"].shape == (2, 1, 6, 5, 4)
    assert batch["image"].meta["case"] == ["0", "1"]
