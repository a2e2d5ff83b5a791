"""Phantoms: anatomy as announced, determinism, no window solves it, NIfTI and DICOM as other readers see them."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from medtl_monai.data.phantom import Contrast, HippocampusPhantom, make_phantom, write_cohort, write_dicom_series
from medtl_monai.errors import ConfigError, OutputError

SEEDS = range(12)


@pytest.fixture(scope="module", params=["source", "target"])
def cohort(request: pytest.FixtureRequest) -> list[HippocampusPhantom]:
    return [make_phantom(seed, contrast=request.param) for seed in SEEDS]


def best_window_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Best Dice of any intensity window between 5 %-quantiles, chosen with the truth in hand."""
    edges = np.quantile(image, np.linspace(0, 1, 21))
    inside, _ = np.histogram(image[truth], edges)
    every, _ = np.histogram(image, edges)
    hits = [
        (2 * inside[low:high].sum() / (every[low:high].sum() + truth.sum()))
        for low in range(20)
        for high in range(low + 1, 21)
    ]
    return float(max(hits))


def test_types_shapes_and_labels(cohort: list[HippocampusPhantom]) -> None:
    for phantom in cohort:
        assert phantom.image.dtype == np.float32
        assert phantom.label.dtype == np.uint8
        assert phantom.image.shape == phantom.label.shape
        assert np.all(np.abs(np.array(phantom.image.shape) - (35, 50, 36)) <= (3, 4, 3))
        assert set(np.unique(phantom.label)) == {0, 1, 2}
        assert np.isfinite(phantom.image).all()
        assert 0 <= phantom.image.min() < phantom.image.max() < 32767
        assert nib.aff2axcodes(phantom.affine) == ("R", "A", "S")
        np.testing.assert_allclose(np.linalg.norm(phantom.affine[:3, :3], axis=0), 1.0)


def test_foreground_is_about_five_percent_and_one_piece(cohort: list[HippocampusPhantom]) -> None:
    shares = [float((phantom.label > 0).mean()) for phantom in cohort]
    assert 0.035 < np.mean(shares) < 0.07
    assert all(0.02 < share < 0.09 for share in shares)
    assert all(ndimage.label(phantom.label > 0)[1] == 1 for phantom in cohort)


def test_anterior_lies_in_front_of_and_below_the_tail_and_the_head_is_thicker(cohort: list[HippocampusPhantom]) -> None:
    for phantom in cohort:
        front, back = (np.argwhere(phantom.label == k).mean(axis=0) for k in (1, 2))
        assert front[1] > back[1] + 8
        assert front[2] < back[2]
        depth = ndimage.distance_transform_edt(phantom.label > 0)
        assert depth[phantom.label == 1].max() > depth[phantom.label == 2].max() * 0.95
    depths = [[ndimage.distance_transform_edt(p.label > 0)[p.label == k].max() for k in (1, 2)] for p in cohort]
    assert np.mean([front / back for front, back in depths]) > 1.1


def test_no_intensity_window_solves_it(cohort: list[HippocampusPhantom]) -> None:
    assert max(best_window_dice(phantom.image, phantom.label > 0) for phantom in cohort) < 0.5


def test_the_window_search_finds_a_planted_window() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (20, 20, 20))
    assert best_window_dice(image, (image > 0.4) & (image < 0.6)) > 0.9


@pytest.mark.parametrize("contrast", ["source", "target"])
def test_same_seed_same_arrays_other_seed_other_anatomy(contrast: Contrast) -> None:
    one, again, other = (make_phantom(seed, contrast=contrast, shape=(35, 50, 36)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.label, again.label)
    np.testing.assert_array_equal(one.affine, again.affine)
    overlap = 2 * ((one.label > 0) & (other.label > 0)).sum() / ((one.label > 0).sum() + (other.label > 0).sum())
    assert overlap < 0.9


def test_contrasts_share_anatomy_and_reverse_the_order_of_tissues() -> None:
    correlations = []
    for seed in SEEDS:
        source, target = (make_phantom(seed, contrast=contrast) for contrast in ("source", "target"))
        np.testing.assert_array_equal(source.label, target.label)
        correlations.append(np.corrcoef(source.image.ravel(), target.image.ravel())[0, 1])
    assert max(correlations) < -0.3


def test_requested_shape_is_kept_and_filled() -> None:
    phantom = make_phantom(1, shape=(64, 48, 32))
    assert phantom.label.shape == (64, 48, 32)
    assert set(np.unique(phantom.label)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"contrast": "t3"}, "contrast"),
        ({"shape": (35, 50, 8)}, "shape"),
        ({"shape": (35, 50)}, "shape"),
    ],
)
def test_bad_requests_are_named(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        make_phantom(0, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        make_phantom(-1)


def test_cohort_is_readable_nifti(tmp_path: Path) -> None:
    cases = write_cohort(tmp_path, [5, 2], contrast="target", prefix="sub")
    assert cases == ["sub_0005", "sub_0002"]
    for case, seed in zip(cases, (5, 2), strict=True):
        phantom = make_phantom(seed, contrast="target")
        image, label = (nib.load(tmp_path / kind / f"{case}.nii.gz") for kind in ("images", "labels"))
        assert image.get_data_dtype() == np.int16
        assert label.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(label.dataobj), phantom.label)
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.rint(phantom.image))
        for file in (image, label):
            assert file.header.get_xyzt_units()[0] == "mm"
            for form, code in (file.get_sform(coded=True), file.get_qform(coded=True)):
                assert code == 1
                np.testing.assert_allclose(form, phantom.affine, atol=1e-4)
    with pytest.raises(OutputError, match="sub_0005"):
        write_cohort(tmp_path, [5, 7], contrast="source", prefix="sub")
    assert not (tmp_path / "images" / "sub_0007.nii.gz").exists()


@pytest.fixture(scope="module")
def oblique() -> HippocampusPhantom:
    """A phantom whose affine is oblique and anisotropic, so that a swapped axis or sign cannot hide."""
    plain = make_phantom(9, contrast="target", shape=(30, 40, 34))
    angle = np.radians(20.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.9, 1.5, 1.1])
    affine[:3, 3] = (-40.25, -33.5, -21.75)
    return HippocampusPhantom(plain.image, plain.label, affine)


@pytest.mark.parametrize("kind", ["plain", "oblique"])
def test_itk_reads_the_dicom_series_where_the_phantom_is(
    kind: str, oblique: HippocampusPhantom, tmp_path: Path
) -> None:
    phantom = oblique if kind == "oblique" else make_phantom(4)
    write_dicom_series(phantom, tmp_path / "series", seed=4)
    names = itk.GDCMSeriesFileNames.New(Directory=str(tmp_path / "series"))
    (uid,) = names.GetSeriesUIDs()
    image = itk.imread(list(names.GetFileNames(uid)), itk.F)
    values = itk.array_from_image(image)
    assert values.size == phantom.image.size
    generator = np.random.default_rng(0)
    for index in generator.integers(0, phantom.image.shape, size=(50, 3)):
        ras = phantom.affine @ [*index, 1]
        lps = [float(-ras[0]), float(-ras[1]), float(ras[2])]
        there = image.TransformPhysicalPointToContinuousIndex(lps)
        np.testing.assert_allclose(list(there), np.rint(list(there)), atol=2e-3)
        i, j, k = (round(float(v)) for v in there)
        assert values[k, j, i] == np.rint(phantom.image[tuple(index)])


def test_dicom_headers(tmp_path: Path) -> None:
    phantom = make_phantom(6)
    files = write_dicom_series(phantom, tmp_path / "a", seed=6)
    assert len(files) == phantom.image.shape[1]
    datasets = [pydicom.dcmread(file) for file in files]
    for dataset in datasets:
        assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert dataset.SOPClassUID == pydicom.uid.MRImageStorage
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert all(element.value.is_valid for element in dataset if element.VR == "UI")
        assert str(dataset.PatientName) == "PHANTOM^SYNTHETIC"
        assert (dataset.RescaleSlope, dataset.RescaleIntercept) == (1, 0)
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(files)
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    again = write_dicom_series(phantom, tmp_path / "b", seed=6)
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    other = pydicom.dcmread(write_dicom_series(phantom, tmp_path / "c", seed=7)[0])
    assert other.SeriesInstanceUID != datasets[0].SeriesInstanceUID


def test_a_second_series_in_one_folder_is_refused(tmp_path: Path) -> None:
    phantom = make_phantom(0, shape=(16, 16, 16))
    write_dicom_series(phantom, tmp_path, seed=0)
    with pytest.raises(OutputError, match="not empty"):
        write_dicom_series(phantom, tmp_path, seed=1)
