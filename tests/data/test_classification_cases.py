"""The cases of a classification bundle: checked, drawn in proportion, and free of leaks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtl_monai.data.classification import ClassCase, ClassificationDatalist
from medtl_monai.data.classification_cases import (
    class_counts,
    class_inference_cases,
    classification_cases,
    draw_cases,
    recorded_cases,
    require_class_cases,
)
from medtl_monai.data.classification_checks import check_class_leakage
from medtl_monai.errors import ConfigError, DataError, FormatError

NAMES = {0: "normal", 1: "ill"}


def picture(path: Path, seed: int) -> np.ndarray:
    """A smooth random picture, saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (6, 6), dtype=np.uint8)
    image = Image.fromarray(small).resize((40, 30), Image.Resampling.BICUBIC)
    image.save(path)
    return np.asarray(image)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Twelve training, four validation and four test pictures; a quarter of them ill."""
    splits = {}
    for number, (split, count) in enumerate({"training": 12, "validation": 4, "test": 4}.items()):
        rows = [
            ClassCase(f"{split}_{i}", f"images/{split}_{i}.png", int(i % 4 == 0), f"{split}_{i}") for i in range(count)
        ]
        for i, row in enumerate(rows):
            picture(tmp_path / row.image, 100 * number + i)
        splits[split] = tuple(rows)
    ClassificationDatalist(NAMES, splits).save(tmp_path / "datalist.json")
    return tmp_path


def test_cases(dataset: Path) -> None:
    cases = classification_cases(str(dataset), "training")
    assert cases[4] == {
        "image": str(dataset / "images/training_4.png"),
        "label": 1,
        "case": "training_4",
        "patient": "training_4",
    }
    assert class_counts(cases) == {"0": 9, "1": 3}
    assert recorded_cases(cases)[4] == {"image": cases[4]["image"], "case": "training_4"}
    assert classification_cases(str(dataset / "absent"), "training") == []
    assert classification_cases("", "test") == []


def test_draws_are_nested_and_in_proportion(dataset: Path) -> None:
    drawn = [classification_cases(str(dataset), "training", labelled=n, seed=5) for n in range(2, 13)]
    for smaller, larger in pairwise(drawn):
        assert {case["case"] for case in smaller} < {case["case"] for case in larger}
    for number, cases in enumerate(drawn, 2):
        ill = class_counts(cases)["1"]
        assert len(cases) == number
        assert abs(ill - max(1, number / 4)) <= 1
    others = classification_cases(str(dataset), "training", labelled=4, seed=6)
    assert {case["case"] for case in others} != {case["case"] for case in drawn[2]}


def test_draws_of_three_classes_keep_one_of_each() -> None:
    rows = [ClassCase(str(i), str(i), 0 if i < 90 else 1 + (i >= 99), str(i)) for i in range(100)]
    for number in range(3, 101):
        found = Counter(row.label for row in draw_cases(rows, number, 0))
        assert min(found[label] for label in range(3)) >= 1
        assert abs(found[1] - 0.09 * number) < 1.1


@pytest.mark.parametrize(("labelled", "split"), [(1, "training"), (13, "training"), (-1, "training"), (2, "test")])
def test_draws_that_cannot_be_met(dataset: Path, labelled: int, split: str) -> None:
    with pytest.raises(ConfigError, match="labelled"):
        classification_cases(str(dataset), split, labelled=labelled)


def test_what_does_not_fit_the_task(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="3 classes"):
        classification_cases(str(dataset), "training", classes=3)
    with pytest.raises(ConfigError, match="no such split"):
        classification_cases(str(dataset), "train")
    with pytest.raises(ConfigError, match="no datalist"):
        classification_cases(str(dataset), "training", datalist=str(dataset / "x.json"))
    loaded = ClassificationDatalist.load(dataset / "datalist.json")
    healthy = tuple(case for case in loaded.splits["validation"] if case.label == 0)
    ClassificationDatalist(NAMES, {**loaded.splits, "validation": healthy}).save(dataset / "healthy.json")
    with pytest.raises(DataError, match=r"validation split has no case of class 1 \(ill\)"):
        classification_cases(str(dataset), "validation", datalist=str(dataset / "healthy.json"))


def test_all_bad_cases_in_one_error(dataset: Path) -> None:
    (dataset / "images/training_1.png").unlink()
    (dataset / "images/training_3.png").write_bytes(b"\x89PNG")
    colours = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colours).save(dataset / "images/training_5.png")
    with pytest.raises(DataError, match="3 of 12 cases") as caught:
        classification_cases(str(dataset), "training")
    for words in ("case training_1: no file", "case training_3: training_3.png", "case training_5", "coloured"):
        assert words in str(caught.value)
    assert str(dataset) not in str(caught.value)
    with pytest.raises(DataError, match="2 of 12 cases"):
        classification_cases(str(dataset), "training", colour="luminance")


def test_no_cases() -> None:
    with pytest.raises(DataError, match="no such folder"):
        require_class_cases([], "absent")
    require_class_cases([1], "absent")


def test_leakage(dataset: Path) -> None:
    datalist = ClassificationDatalist.load(dataset / "datalist.json")
    assert check_class_leakage(datalist, dataset) == []
    image = Image.open(dataset / "images/training_2.png")
    image.convert("RGB").save(dataset / "images/test_1.png")  # the same greys, another file
    image.resize((60, 45), Image.Resampling.BILINEAR).save(dataset / "images/validation_0.png")
    findings = check_class_leakage(datalist, dataset)
    (same,) = [finding for finding in findings if finding.severity == "error"]
    assert same.code == "leakage.same_voxels"
    assert "training_2 (training), test_1 (test)" in same.message
    near = [finding for finding in findings if finding.severity == "warning"]
    assert {finding.code for finding in near} == {"leakage.near_duplicate"}
    assert {(finding.case, finding.message.split()[5]) for finding in near} == {
        ("training_2", "validation_0"),
        ("validation_0", "test_1"),
    }
    assert len(check_class_leakage(datalist, dataset, near=None)) == 1


def test_leakage_in_volumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {}
    for split in ("training", "validation", "test"):
        rows[split] = (ClassCase(split, f"{split}.nii.gz", 0, split),)
        array = (rng.random((10, 10, 10)) > 0.5).astype(np.uint8)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{split}.nii.gz")
    datalist = ClassificationDatalist(NAMES, rows)
    assert check_class_leakage(datalist, tmp_path) == []
    array = np.asarray(nib.load(tmp_path / "test.nii.gz").dataobj)
    nib.save(nib.Nifti1Image(array.astype(np.float32), np.diag([2, 2, 2, 1])), tmp_path / "training.nii.gz")
    assert [finding.code for finding in check_class_leakage(datalist, tmp_path)] == ["leakage.same_voxels"]


def test_real_leak_of_published_splits(real_data: Path, tmp_path: Path) -> None:
    """PneumoniaMNIST as rebuilt has 8 images in both train and validation (SOURCE.txt); 40 others show no leak."""
    (archive,) = (real_data / "chest_xray").glob("*.npz")
    with np.load(archive) as stored:
        train, validation = stored["train_images"], stored["val_images"]
    known = {image.tobytes(): number for number, image in enumerate(train)}
    common = [(known[image.tobytes()], i) for i, image in enumerate(validation) if image.tobytes() in known]
    assert len(common) == 8
    chosen = {"training": [i for i, _ in common] + list(range(20)), "validation": [j for _, j in common]}
    splits: dict[str, tuple[ClassCase, ...]] = {"test": ()}
    for split, source in (("training", train), ("validation", validation)):
        numbers = sorted(set(chosen[split]))
        for number in numbers:
            Image.fromarray(source[number]).save(tmp_path / f"{split}_{number}.png")
        names = [f"{split}_{number}" for number in numbers]
        splits[split] = tuple(ClassCase(name, f"{name}.png", 0, name) for name in names)
    findings = check_class_leakage(ClassificationDatalist(NAMES, splits), tmp_path, near=None)
    assert len(findings) == 8


def test_inference_cases(dataset: Path, tmp_path: Path) -> None:
    rows = class_inference_cases(str(dataset))
    assert len(rows) == 20
    assert rows[0] == {"image": str(dataset / "images/test_0.png"), "case": "test_0"}
    assert class_inference_cases(str(dataset / "images/test_0.png")) == rows[:1]
    assert class_inference_cases(str(dataset / "absent")) == []
    (dataset / "images/test_0.jpg").write_bytes((dataset / "images/test_0.png").read_bytes())
    with pytest.raises(FormatError, match="several files named test_0"):
        class_inference_cases(str(dataset))
    (dataset / "images/notes.txt").write_text("x")
    with pytest.raises(FormatError, match=r"notes\.txt"):
        class_inference_cases(str(dataset))
