"""The prepared data sets: groups stay together, official splits stay official, values arrive."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from medtl_monai.data.classification import ClassificationDatalist

pytest.importorskip("sklearn", reason="the groups come from a benchmark that needs scikit-learn")


@pytest.fixture(scope="module")
def datasets(project: Path) -> SimpleNamespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        from datasets import adrenal, head_ct
        from probes.head_ct import RELATED

        return SimpleNamespace(adrenal=adrenal, head_ct=head_ct, related=[line.split() for line in RELATED])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_related_head_ct_slices_share_a_split(
    datasets: SimpleNamespace, real_data: Path, seed: int, tmp_path: Path
) -> None:
    made = datasets.head_ct.head_ct_datalist(real_data / "head_ct_hemorrhage", seed)
    made.save(tmp_path / "d.json")
    loaded = ClassificationDatalist.load(tmp_path / "d.json")
    place = {case.case: split for split, cases in loaded.splits.items() for case in cases}
    assert len(place) == 140
    for group in datasets.related:
        assert len({place[name] for name in group if name in place}) == 1, group
    counts = Counter(place.values())
    assert abs(counts["test"] - 35) <= 2
    assert abs(counts["validation"] - 21) <= 2
    for split, cases in loaded.splits.items():
        ill = sum(case.label for case in cases)
        assert abs(ill - len(cases) / 2) <= 2, split
    assert all((real_data / "head_ct_hemorrhage" / case.image).is_file() for case in loaded.splits["test"])


def test_adrenal_files_are_the_published_arrays(datasets: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, count in {"train": 5, "val": 2, "test": 3}.items():
        arrays[f"{name}_images"] = (rng.random((count, 6, 6, 6)) > 0.5).astype(np.uint8) * 255
        arrays[f"{name}_labels"] = np.arange(count)[:, None] % 2
    np.savez(tmp_path / "a.npz", **arrays)
    made = datasets.adrenal.write_adrenal(tmp_path / "a.npz", tmp_path / "out")
    assert {split: len(cases) for split, cases in made.splits.items()} == {"training": 5, "validation": 2, "test": 3}
    for number, case in enumerate(made.splits["training"]):
        stored = nib.load(tmp_path / "out" / case.image)
        np.testing.assert_array_equal(np.asarray(stored.dataobj) * 255, arrays["train_images"][number])
        assert case.label == number % 2
    assert json.loads((tmp_path / "out" / "datalist.json").read_text())["classes"] == {
        "0": "normal",
        "1": "hyperplasia",
    }


def test_nothing_is_written_into_the_project(
    datasets: SimpleNamespace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["adrenal.py", str(project / "eval" / "adrenal")])
    with pytest.raises(SystemExit):
        datasets.adrenal.main()
    assert not (project / "eval" / "adrenal").exists()
