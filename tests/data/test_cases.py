"""The cases that bundles get: absent data, planted defects, nested draws, NIfTI and DICOM folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtl_monai.data.cases import inference_cases, require_cases, training_cases
from medtl_monai.data.datalist import make_datalist
from medtl_monai.errors import ConfigError, DataError, FormatError, LabelError

NAMES = {0: "background", 1: "anterior", 2: "posterior"}
DICOM = bytes(128) + b"DICM" + bytes(20)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("with blank ü")
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for number in range(30):
        name = f"case_{number:02d}.nii.gz"
        label = rng.integers(0, 3, (4, 4, 4)).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(rng.normal(size=label.shape), np.eye(4)), root / "images" / name)
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "labels" / name)
    make_datalist(root, label_names=NAMES).save(root / "datalist.json")
    return root


def names(cases: list[dict[str, str]]) -> list[str]:
    return [case["case"] for case in cases]


def test_splits_have_absolute_paths_to_existing_pairs(dataset: Path) -> None:
    counts = []
    for split in ("training", "validation", "test"):
        cases = training_cases(str(dataset), split)
        counts.append(len(cases))
        for case in cases:
            assert set(case) == {"image", "label", "case"}
            for key in ("image", "label"):
                assert Path(case[key]) == dataset / f"{key}s" / f"{case['case']}.nii.gz"
                assert os.path.isabs(case[key])
    assert counts == [21, 3, 6]  # 30 patients, a tenth and a fifth of them


def test_a_relative_folder_gives_absolute_paths(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dataset)
    assert training_cases(".", "test") == training_cases(str(dataset), "test")


@pytest.mark.parametrize("folder", ["", "absent/folder"])
def test_without_data_the_list_is_empty_and_the_run_refused(folder: str) -> None:
    cases = training_cases(folder, "training", labelled=4)
    assert cases == []
    assert inference_cases(folder) == []
    with pytest.raises(DataError, match=r"images/NAME.*no such folder.*medtl datalist"):
        require_cases(cases, folder)


def test_an_empty_split_is_refused_at_the_run(dataset: Path) -> None:
    with pytest.raises(DataError, match="empty list"):
        require_cases([], str(dataset))
    require_cases([{"image": "a"}], str(dataset))


def test_a_missing_datalist_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training_cases(str(tmp_path), "training")
    assert f"medtl datalist {tmp_path}" in str(caught.value)


def test_another_datalist_can_be_given(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "fold_1.json"
    make_datalist(dataset, seed=1, label_names=NAMES).save(path)
    other = training_cases(str(dataset), "test", datalist=str(path))
    assert names(other) != names(training_cases(str(dataset), "test"))
    with pytest.raises(ConfigError, match=r"absent\.json"):
        training_cases(str(dataset), "test", datalist="absent.json")


def test_draws_are_nested_and_follow_the_seed(dataset: Path) -> None:
    draws = [set(names(training_cases(str(dataset), "training", labelled=n, seed=5))) for n in (1, 4, 16, 21)]
    assert [len(draw) for draw in draws] == [1, 4, 16, 21]
    assert draws[0] < draws[1] < draws[2] < draws[3]
    assert draws[3] == set(names(training_cases(str(dataset), "training")))
    others = {tuple(names(training_cases(str(dataset), "training", labelled=4, seed=seed))) for seed in range(5)}
    assert len(others) == 5


@pytest.mark.parametrize(("split", "labelled"), [("training", 22), ("training", -1), ("validation", 2), ("train", 0)])
def test_impossible_requests_are_refused(dataset: Path, split: str, labelled: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        training_cases(str(dataset), split, labelled=labelled)


def test_bad_cases_are_refused_and_empty_labels_reported(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(dataset, root)
    with pytest.raises(LabelError, match="6 of 6 cases"):
        training_cases(str(root), "test", label_values=(0, 1))
    first = training_cases(str(root), "test")[0]
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), first["label"])
    assert len(training_cases(str(root), "test")) == 6
    assert f"case {first['case']}: the label has no foreground" in caplog.text
    Path(first["label"]).unlink()
    with pytest.raises(LabelError, match=f"1 of 6 cases.*\n.*case {first['case']}: label file is missing"):
        training_cases(str(root), "test")


def test_real_split_is_read_and_checked(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "hippocampus_mri"
    path = tmp_path / "datalist.json"
    make_datalist(root).save(path)
    counts = [len(training_cases(str(root), s, datalist=str(path))) for s in ("training", "validation", "test")]
    assert counts == [126, 18, 36]


def fill(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if ".nii" in file else DICOM if "dicom" in file else b"text")
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["b.nii", "a.nii.gz", "._a.nii.gz", "notes.txt"], {"a": "a.nii.gz", "b": "b.nii"}),
        (["images/a.nii", "labels/a.nii", "datalist.json"], {"a": "images/a.nii"}),
        (["p1/dicom1", "p1/dicom2", "p2/x.dcm", "DICOMDIR"], {"p1": "p1", "p2": "p2"}),
        (["images/p1/dicom1", "images/p2/dicom2"], {"p1": "images/p1", "p2": "images/p2"}),
    ],
)
def test_layouts_of_inference_folders(tmp_path: Path, files: list[str], found: dict[str, str]) -> None:
    fill(tmp_path, *files)
    expected = [{"image": str(tmp_path / image), "case": name} for name, image in found.items()]
    assert inference_cases(str(tmp_path)) == expected


def test_one_file_and_one_series(tmp_path: Path) -> None:
    fill(tmp_path, "liver.017.nii.gz", "series/dicom1", "series/dicom2")
    file, series = str(tmp_path / "liver.017.nii.gz"), str(tmp_path / "series")
    assert inference_cases(file) == [{"image": file, "case": "liver.017"}]
    assert inference_cases(series) == [{"image": series, "case": "series"}]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.nii", "b.dicom"], ["mixed", "a.nii", "b.dicom"]),
        (["a.nii", "p1/dicom1"], ["mixed", "a.nii", "p1"]),
        (["p1/dicom1", "p1/a.nii"], ["mixed", "a.nii", "dicom1"]),
        (["dicom1", "p1/dicom2"], ["mixed", "dicom1", "p1"]),
        (["a.nii", "a.nii.gz"], ["a.nii and a.nii.gz"]),
        (["a.nii", "b.nrrd"], ["b.nrrd", "not read"]),
        (["notes.txt"], ["nothing readable", "DICOM series", "NIfTI"]),
        ([], ["nothing readable"]),
        (["p1/dicom1", "p2/notes.txt"], ["without DICOM", "p2"]),
        (["p1/study/dicom1"], ["nothing readable", "p1"]),
    ],
)
def test_unclear_inference_folders_are_refused(tmp_path: Path, files: list[str], words: list[str]) -> None:
    with pytest.raises(FormatError) as caught:
        inference_cases(str(fill(tmp_path, *files)))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("file", "words"), [("scan.dcm", "folder of the series"), ("scan.png", "NIfTI")])
def test_other_single_files_are_refused(tmp_path: Path, file: str, words: str) -> None:
    fill(tmp_path, file)
    with pytest.raises(FormatError, match=words):
        inference_cases(str(tmp_path / file))


def test_real_inputs(real_data: Path) -> None:
    assert len(inference_cases(str(real_data / "hippocampus_mri"))) == 180
    assert names(inference_cases(str(real_data / "brain_mr_dicom"))) == ["hippocampus_crop", "t1_5mm"]
    # These DICOM files have no suffix; the folder also holds no index.
    assert names(inference_cases(str(real_data / "abdomen_ct" / "dicom"))) == ["dicom"]
    with pytest.raises(FormatError, match="mixed"):
        inference_cases(str(real_data / "ct_with_dicom_seg"))  # a series and a segmentation beside it
