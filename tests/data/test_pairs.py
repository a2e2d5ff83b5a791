"""Images and labels are paired by name, and whatever does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtl_monai.data.pairs import pair_files
from medtl_monai.errors import DataError, FormatError, LabelError


def touch(root: Path, images: list[str], labels: list[str] | None = None) -> Path:
    for kind, files in (("images", images), ("labels", images if labels is None else labels)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for file in files:
            (root / kind / file).touch()
    return root


def test_pairs_are_by_name_not_by_order(tmp_path: Path) -> None:
    touch(tmp_path, ["a.nii.gz", "b.nii"], ["b.nii.gz", "a.nii"])
    (tmp_path / "images" / "._a.nii.gz").touch()
    (tmp_path / "labels" / ".DS_Store").touch()
    images, labels = tmp_path / "images", tmp_path / "labels"
    assert pair_files(tmp_path) == {
        "a": (images / "a.nii.gz", labels / "a.nii"),
        "b": (images / "b.nii", labels / "b.nii.gz"),
    }


def test_unpaired_files_are_all_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.nii", "b.nii", "c.nii"], ["a.nii", "d.nii"])
    with pytest.raises(LabelError, match=r"2 images without label: b, c; 1 labels without image: d; .*3 images and 2"):
        pair_files(tmp_path)


@pytest.mark.parametrize("other", [".hidden", "notes.txt", "a.nrrd", ".nii.gz"])
def test_other_files_are_refused(tmp_path: Path, other: str) -> None:
    touch(tmp_path, ["a.nii", other], ["a.nii"])
    with pytest.raises(FormatError) as caught:
        pair_files(tmp_path)
    assert other in str(caught.value)


def test_a_folder_among_the_images_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["a.nii"])
    (tmp_path / "images" / "b.nii").mkdir()
    with pytest.raises(FormatError, match=r"b\.nii"):
        pair_files(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["a.nii", "a.nii.gz"], ["a.nii"])
    with pytest.raises(FormatError, match=r"a\.nii and a\.nii\.gz"):
        pair_files(tmp_path)


def test_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder images"):
        pair_files(tmp_path)
    with pytest.raises(DataError, match="no images"):
        pair_files(touch(tmp_path, []))
