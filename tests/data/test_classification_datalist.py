"""The classification datalist: written, read, made from folders and tables, and refused when it contradicts itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtl_monai.data.classification import ClassCase, ClassificationDatalist, make_classification_datalist
from medtl_monai.data.classification_split import stratified_split
from medtl_monai.errors import ConfigError, DataError, FormatError

CONTENT: dict[str, Any] = {
    "task": "classification",
    "classes": {"0": "normal", "1": "haemorrhage"},
    "training": [
        {"case": "a", "image": "images/a.png", "class": 1, "patient": "p1"},
        {"case": "b", "image": "images/b.png", "class": 0, "patient": "p1"},
    ],
    "validation": [{"case": "c", "image": "images/c.png", "class": 0}],
    "test": [],
}


def written(folder: Path, content: object) -> Path:
    path = folder / "datalist.json"
    path.write_text(json.dumps(content))
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = json.loads(json.dumps(CONTENT))
    change(content)
    return content


def test_round_trip(tmp_path: Path) -> None:
    datalist = ClassificationDatalist.load(written(tmp_path, CONTENT))
    assert datalist.classes == {0: "normal", 1: "haemorrhage"}
    assert datalist.splits["training"][0] == ClassCase("a", "images/a.png", 1, "p1")
    assert datalist.splits["validation"][0].patient == "c"
    datalist.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == CONTENT


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], type[Exception], str]] = {
    "unknown key": (lambda c: c.update(seed=3), ConfigError, "unknown key 'seed'"),
    "unknown row key": (
        lambda c: c["test"].append({**c["training"][0], "label": 1}),
        ConfigError,
        "unknown key 'label'",
    ),
    "missing": (lambda c: c["training"][0].pop("class"), ConfigError, "key 'class' is missing"),
    "class as text": (lambda c: c["training"][0].update({"class": "1"}), ConfigError, "must be an integer"),
    "class as bool": (lambda c: c["training"][0].update({"class": True}), ConfigError, "must be an integer"),
    "unknown class": (lambda c: c["training"][0].update({"class": 2}), DataError, "class 2 has no name"),
    "classes with a gap": (lambda c: c.update(classes={"0": "x", "2": "y"}), ConfigError, "numbered 0, 1"),
    "one class": (lambda c: c.update(classes={"0": "x"}), ConfigError, "two at least"),
    "equal names": (lambda c: c.update(classes={"0": "x", "1": "x"}), ConfigError, "two classes have the name"),
    "other task": (lambda c: c.update(task="segmentation"), ConfigError, "not a classification datalist"),
    "patient in two": (
        lambda c: c["validation"][0].update(patient="p1"),
        DataError,
        "p1 is in training and validation",
    ),
    "same case": (lambda c: c["validation"][0].update(case="a"), DataError, "case a is listed 2 times"),
    "same file": (lambda c: c["validation"][0].update(image="images/./a.png"), DataError, "a.png is listed 2 times"),
    "escape": (lambda c: c["validation"][0].update(image="../c.png"), ConfigError, "leads out"),
    "absolute": (lambda c: c["validation"][0].update(image="/c.png"), ConfigError, "leads out"),
    "backslash": (lambda c: c["validation"][0].update(image="images\\..\\..\\c.png"), ConfigError, "leads out"),
    "folder as case": (lambda c: c["validation"][0].update(case="x/y"), ConfigError, "no file name"),
    "list": (lambda c: c.update(test={}), ConfigError, "test must be a list"),
}


@pytest.mark.parametrize("kind", BAD)
def test_refused(kind: str, tmp_path: Path) -> None:
    change, error, message = BAD[kind]
    with pytest.raises(error, match=message) as caught:
        ClassificationDatalist.load(written(tmp_path, changed(change)))
    assert str(tmp_path / "datalist.json") in str(caught.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    content = changed(lambda c: (c["validation"][0].update(patient="p1"), c["training"][0].update({"class": 5})))
    with pytest.raises(DataError, match=r"class 5 has no name.*p1 is in training and validation"):
        ClassificationDatalist.load(written(tmp_path, content))


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "classification", "task": "classification"}'])
def test_no_datalist(text: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(ConfigError):
        ClassificationDatalist.load(tmp_path / "d.json")
    with pytest.raises(ConfigError, match="cannot read"):
        ClassificationDatalist.load(tmp_path / "absent.json")


def cases(sizes: dict[str, dict[int, int]]) -> list[ClassCase]:
    """``{patient: {class: number of cases}}`` as cases."""
    return [
        ClassCase(f"{name}_{label}_{i}", f"{name}_{label}_{i}.png", label, name)
        for name, counts in sizes.items()
        for label, count in counts.items()
        for i in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_split_by_patient_with_every_class_in_proportion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = {f"p{i}": {int(rng.random() < 0.3): int(rng.integers(1, 5))} for i in range(150)}
    rows = cases({**sizes, "both": {0: 3, 1: 2}, "many": {0: 40}})
    splits = stratified_split(rows, fractions={"validation": 0.15, "test": 0.25}, seed=seed)
    assert sorted(case.case for split in splits.values() for case in split) == sorted(case.case for case in rows)
    total = Counter(case.label for case in rows)
    for name, fraction in {"training": 0.6, "validation": 0.15, "test": 0.25}.items():
        found = Counter(case.label for case in splits[name])
        for label in (0, 1):
            assert abs(found[label] - fraction * total[label]) <= 3, (name, label)
    places = {name: {case.patient for case in split} for name, split in splits.items()}
    assert sum(map(len, places.values())) == 152
    assert "many" in places["training"]  # 40 would be more than a third of the class in the other splits


def test_the_split_follows_names_and_seed_alone() -> None:
    rows = cases({f"p{i}": {i % 2: 1 + i % 3} for i in range(40)})
    shares = {"validation": 0.2, "test": 0.2}
    first = stratified_split(rows, fractions=shares, seed=1)
    again = stratified_split(rows[::-1], fractions=shares, seed=1)
    assert {name: set(split) for name, split in first.items()} == {name: set(split) for name, split in again.items()}
    assert first != stratified_split(rows, fractions=shares, seed=2)


def test_too_few_patients_and_impossible_fractions() -> None:
    with pytest.raises(DataError, match="lacks class 1"):
        stratified_split(cases({"a": {0: 5}, "b": {1: 1}, "c": {0: 1}}), fractions={"test": 0.5}, seed=0)
    for seed in range(20):  # just enough: one patient of each class for each split
        rows = cases({f"{label}{i}": {label: 2 + i} for label in (0, 1) for i in range(3)})
        splits = stratified_split(rows, fractions={"validation": 0.1, "test": 0.1}, seed=seed)
        assert {case.label for split in splits.values() for case in split} == {0, 1}
        assert all({case.label for case in split} == {0, 1} for split in splits.values())
    with pytest.raises(ConfigError, match="fractions"):
        stratified_split(cases({"a": {0: 5}}), fractions={"validation": 0.5, "test": 0.5}, seed=0)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two classes of eight pictures each, one name in both."""
    rng = np.random.default_rng(0)
    for name in ("bleeding", "normal"):
        (tmp_path / name).mkdir()
        for i in range(8):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / name / f"p{i // 2}_{i}.png")
    return tmp_path


def test_a_folder_per_class(folders: Path) -> None:
    (folders / "normal" / ".DS_Store").write_bytes(b"")
    datalist = make_classification_datalist(folders, validation=0.25, test=0.25)
    assert datalist.classes == {0: "bleeding", 1: "normal"}
    rows = [case for split in datalist.splits.values() for case in split]
    assert len(rows) == 16
    for case in rows:
        assert case.image.split("/")[0] == datalist.classes[case.label]
        assert case.case == f"{datalist.classes[case.label]}_{Path(case.image).stem}"
    named = make_classification_datalist(folders, class_names={0: "normal", 1: "bleeding"})
    assert all(case.label == 0 for case in named.splits["training"] if case.image.startswith("normal"))
    (folders / "normal" / "notes.txt").write_text("x")
    with pytest.raises(FormatError, match=r"notes\.txt"):
        make_classification_datalist(folders)
    with pytest.raises(DataError, match="not the classes"):
        make_classification_datalist(folders, class_names={0: "normal", 1: "other"})


def test_patients_by_pattern(folders: Path) -> None:
    datalist = make_classification_datalist(folders, patient_pattern="(p[0-9])_", validation=0.25, test=0.25)
    assert {case.patient for split in datalist.splits.values() for case in split} == {"p0", "p1", "p2", "p3"}
    for pattern in ("(", "p", "(q)"):
        with pytest.raises(ConfigError, match="patient_pattern"):
            make_classification_datalist(folders, patient_pattern=pattern)


def table(folder: Path, *lines: str) -> Path:
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def test_a_table(tmp_path: Path) -> None:
    lines = [f"images/{i}.png,{i % 2},p{i % 6}" for i in range(12)]
    path = table(tmp_path, "image, class, patient", *lines)
    datalist = make_classification_datalist(tmp_path, csv=path, validation=0.2, test=0.2)
    assert datalist.classes == {0: "class_0", 1: "class_1"}
    rows = {case.case: case for split in datalist.splits.values() for case in split}
    assert rows["7"] == ClassCase("7", "images/7.png", 1, "p1")
    named = table(tmp_path, "case,image,class", *[f"c{i},i{i}.png,{['ill', 'well'][i % 2]}" for i in range(8)])
    assert make_classification_datalist(tmp_path, csv=named).classes == {0: "ill", 1: "well"}


BAD_TABLES = {
    "columns": ["image,label", "a.png,1"],
    "a class without name": ["image,class", "a.png,0", "b.png,1", "c.png,2"],
    "an empty field": ["image,class", "a.png,"],
    "a short line": ["image,class", "a.png"],
    "no rows": ["image,class"],
    "a file twice": ["image,class,case", *[f"a{i % 7}.png,{i % 2},{i}" for i in range(8)]],
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_bad_tables(kind: str, tmp_path: Path) -> None:
    path = table(tmp_path, *BAD_TABLES[kind])
    with pytest.raises((ConfigError, DataError)):
        make_classification_datalist(tmp_path, csv=path, class_names={0: "a", 1: "b"})
