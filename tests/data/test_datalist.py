"""Pairs by name, splits by patient, and every way a datalist can contradict itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtl_monai.data.datalist import SPLITS, Case, Datalist, draw_order, make_datalist
from medtl_monai.errors import ConfigError, DataError, OutputError

NAMES = {0: "background", 1: "anterior", 2: "posterior"}


def touch(root: Path, files: list[str]) -> Path:
    for file in files:
        for kind in ("images", "labels"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / file).touch()
    return root


def content() -> dict[str, Any]:
    def row(case: str) -> dict[str, str]:
        return {"case": case, "image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz"}

    return {
        "format": "medtl-datalist/1",
        "labels": {"0": "background", "1": "organ"},
        "seed": 3,
        "training": [row("a"), {**row("b"), "patient": "p1"}],
        "validation": [row("c")],
        "test": [],
    }


def load(tmp_path: Path, data: object) -> Datalist:
    path = tmp_path / "datalist.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return Datalist.load(path)


def test_load_reads_the_published_layout(tmp_path: Path) -> None:
    found = load(tmp_path, content())
    assert found.labels == {0: "background", 1: "organ"}
    assert found.seed == 3
    assert found.splits["training"] == (
        Case("a", "images/a.nii.gz", "labels/a.nii.gz", "a"),
        Case("b", "images/b.nii.gz", "labels/b.nii.gz", "p1"),
    )
    assert found.splits["test"] == ()


def test_save_writes_what_load_reads(tmp_path: Path) -> None:
    load(tmp_path, content()).save(tmp_path / "copy.json")
    assert json.loads((tmp_path / "copy.json").read_text()) == content()


def test_save_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        load(tmp_path, content()).save(tmp_path / "absent" / "copy.json")


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(data: Any) -> None:
        *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        for key in keys:
            data = data[key]
        data[last] = value

    return apply


@pytest.mark.parametrize(
    ("defect", "kind", "words"),
    [
        (change("validation/0/case", "a"), DataError, ["case a is listed 2 times"]),
        (change("validation/0/patient", "p1"), DataError, ["patient p1 is in training and validation"]),
        (change("validation/0/image", "images/a.nii.gz"), DataError, ["file images/a.nii.gz is listed 2 times"]),
        (change("validation/0/image", "./images//a.nii.gz"), DataError, ["file images/a.nii.gz is listed 2 times"]),
        (change("validation/0/label", "images/c.nii.gz"), DataError, ["file images/c.nii.gz is listed 2 times"]),
        (change("validation/0/image", "/data/c.nii.gz"), ConfigError, ["case c", "/data/c.nii.gz", "absolute"]),
        (change("validation/0/image", "C:\\c.nii.gz"), ConfigError, ["case c", "absolute"]),
        (change("validation/0/label", "labels/../../c.nii"), ConfigError, ["case c", "leads out"]),
        (change("validation/0/label", "labels\\..\\..\\c.nii"), ConfigError, ["case c", "leads out"]),
        (change("validation/0/case", "../c"), ConfigError, ["'../c' is no file name"]),
        (change("validation/0/lable", "x"), ConfigError, ["validation[0]", "unknown key 'lable'"]),
        (change("validation/0", {"case": "c"}), ConfigError, ["'image' is missing", "'label' is missing"]),
        (change("validation/0", "c"), ConfigError, ["validation[0] must be an object"]),
        (change("validation/0/case", 7), ConfigError, ["case must be a text"]),
        (change("validation", {}), ConfigError, ["validation must be a list"]),
        (change("trainig", []), ConfigError, ["unknown key 'trainig'"]),
        (change("seed", "0"), ConfigError, ["seed must be an integer"]),
        (change("labels", {}), ConfigError, ["no labels"]),
        (change("labels", []), ConfigError, ["labels must be an object"]),
        (change("labels", {"01": "organ"}), ConfigError, ["'01' is no plain integer"]),
        (change("labels", {"0": "organ", "1": "organ"}), ConfigError, ["two label values have the name 'organ'"]),
        (change("labels", {"0": ""}), ConfigError, ["label 0 has no name"]),
        (change("format", "medtl-datalist/2"), ConfigError, ["medtl-datalist/1", "medtl-datalist/2"]),
    ],
)
def test_load_refuses_a_planted_defect(
    tmp_path: Path, defect: Callable[[dict[str, Any]], None], kind: type[Exception], words: list[str]
) -> None:
    data = content()
    defect(data)
    with pytest.raises(kind) as caught:
        load(tmp_path, data)
    assert type(caught.value) is kind
    for word in [*words, "datalist.json"]:
        assert word in str(caught.value)


def test_load_refuses_a_missing_key(tmp_path: Path) -> None:
    data = content()
    del data["test"], data["seed"]
    with pytest.raises(ConfigError, match=r"'seed' is missing.*'test' is missing"):
        load(tmp_path, data)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[1]", "{", "NaN"])
def test_load_refuses_what_is_no_datalist(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"datalist\.json"):
        load(tmp_path, text)


def test_load_refuses_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        Datalist.load(tmp_path / "absent.json")


def test_all_contradictions_are_reported_at_once(tmp_path: Path) -> None:
    data = content()
    change("validation/0/case", "a")(data)
    change("validation/0/label", "labels/b.nii.gz")(data)
    with pytest.raises(DataError, match=r"case a .*labels/b\.nii\.gz .*patient a is in training and validation"):
        load(tmp_path, data)


@pytest.mark.parametrize(
    ("pattern", "words"), [("(", "no regular expression"), ("p[0-9]+", "no group"), ("^(p[0-9]+)_", "b_1")]
)
def test_bad_patient_patterns_are_refused(tmp_path: Path, pattern: str, words: str) -> None:
    touch(tmp_path, ["p1_1.nii", "p2_1.nii", "b_1.nii"])
    with pytest.raises(ConfigError) as caught:
        make_datalist(tmp_path, patient_pattern=pattern, label_names=NAMES)
    assert words in str(caught.value)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_bad_fractions_are_refused(tmp_path: Path, fraction: float) -> None:
    touch(tmp_path, ["a.nii", "b.nii", "c.nii"])
    with pytest.raises(ConfigError, match="fraction for test"):
        make_datalist(tmp_path, test=fraction, label_names=NAMES)


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["p1_1.nii", "p1_2.nii", "p2_1.nii"])
    with pytest.raises(DataError, match=r"more than 2 patients .*got 2"):
        make_datalist(tmp_path, patient_pattern="^(p[0-9])", label_names=NAMES)


def test_label_values_are_read_where_no_names_are_given(tmp_path: Path) -> None:
    touch(tmp_path, [f"{case}.nii" for case in "abc"])
    for value, case in enumerate("abc"):
        array = np.full((2, 3, 4), value * 5, np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "labels" / f"{case}.nii")
    assert make_datalist(tmp_path).labels == {0: "background", 5: "label_5", 10: "label_10"}


PATIENTS = st.lists(st.integers(1, 4), min_size=3, max_size=12)


@settings(max_examples=25, deadline=None)
@given(scans=PATIENTS, seed=st.integers(0, 2**31), fractions=st.tuples(st.floats(0, 0.3), st.floats(0, 0.3)))
def test_splits_are_disjoint_whole_and_independent_of_listing(
    tmp_path_factory: pytest.TempPathFactory, scans: list[int], seed: int, fractions: tuple[float, float]
) -> None:
    files = [f"p{patient:02d}_{scan}.nii" for patient, count in enumerate(scans) for scan in range(count)]
    found = []
    for order in (files, files[::-1]):
        root = touch(tmp_path_factory.mktemp("cohort"), order)
        kwargs = {"validation": fractions[0], "test": fractions[1], "seed": seed}
        found.append(make_datalist(root, patient_pattern="^(p[0-9]+)_", label_names=NAMES, **kwargs))
    assert found[0] == found[1]
    patients = {name: {row.case[:3] for row in found[0].splits[name]} for name in SPLITS}
    assert sum(len(group) for group in patients.values()) == len(set.union(*patients.values())) == len(scans)
    assert sorted(row.case + ".nii" for name in SPLITS for row in found[0].splits[name]) == sorted(files)
    for fraction, name in zip(fractions, ("validation", "test"), strict=True):
        wanted = fraction * len(scans)
        assert (fraction == 0) == (not patients[name])
        assert abs(len(patients[name]) - wanted) <= 0.5 or len(patients[name]) == 1


def test_listing_order_of_the_file_system_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, [f"{case}.nii" for case in "abcdefgh"])
    first = make_datalist(tmp_path, label_names=NAMES)
    listdir, scandir = os.listdir, os.scandir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path), reverse=True))
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(map(Path, scandir(self)), reverse=True)))
    assert make_datalist(tmp_path, label_names=NAMES) == first


def test_seeds_give_different_splits(tmp_path: Path) -> None:
    touch(tmp_path, [f"{number}.nii" for number in range(30)])
    assert len({repr(make_datalist(tmp_path, seed=seed, label_names=NAMES).splits) for seed in range(5)}) == 5


def test_the_draw_is_uniform() -> None:
    # 2000 draws of 1 from 5: each name 400 times, standard deviation 17.9; five of them either side.
    counts = {name: 0 for name in "abcde"}
    for seed in range(2000):
        counts[draw_order("abcde", seed, "labelled")[0]] += 1
    assert all(abs(count - 400) < 90 for count in counts.values())
