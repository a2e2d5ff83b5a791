"""``medtl rank`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cohort import write_segmentation
from PIL import Image

from medtl_monai.cli import main
from medtl_monai.networks.factory import build_network
from medtl_monai.weights.licence import Lineage, write_lineage

SQUEEZENET, GIF = "imagenet_squeezenet1_0_pruned", "highres3dnet_gif"


@pytest.fixture
def weights(real_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(real_weights))
    monkeypatch.setenv("MEDTL_OFFLINE", "1")
    return real_weights


def class_datalist(folder: Path, values: list[int], names: list[str]) -> None:
    rows = [
        {"case": f"c{n:02d}", "image": name, "class": value}
        for n, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    content = {
        "task": "classification",
        "classes": {"0": "no", "1": "yes"},
        "training": rows,
        "validation": [],
        "test": [],
    }
    (folder / "datalist.json").write_text(json.dumps(content))


def write_pictures(folder: Path, count: int) -> None:
    """Grey noise; class 1 has vertical stripes in it."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        grey = rng.integers(80, 120, (40, 48)) + 60 * (number % 2) * (np.arange(48) % 8 < 4)
        Image.fromarray(grey.astype(np.uint8)).save(folder / f"{number:02d}.png")
    class_datalist(folder, [number % 2 for number in range(count)], [f"{number:02d}.png" for number in range(count)])


def test_segmentation_with_own_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_segmentation(tmp_path / "data", 6)
    for name, seed in (("one.pt", 1), ("noncommercial.pt", 2)):
        torch.save(build_network("unet", seed=seed).state_dict(), tmp_path / name)
    write_lineage(tmp_path / "one.pt", [])
    write_lineage(tmp_path / "noncommercial.pt", [Lineage("x", "CC-BY-NC-4.0", False)])
    sources = f"{tmp_path / 'one.pt'},{tmp_path / 'noncommercial.pt'},{tmp_path / 'absent.pt'}"
    words = ["rank", "--data", str(tmp_path / "data"), "--task", "segmentation", "--sources", sources, "--commercial"]
    assert main([*words, "--bootstrap", "40", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "one.pt" in printed
    assert "random:unet" in printed
    assert "not compared: absent.pt: no such file" in printed
    assert "CC-BY-NC-4.0" in printed
    content = json.loads((tmp_path / "out" / "rank.json").read_text())
    assert content["format"] == "medtl-rank/1"
    assert {row["source"] for row in content["sources"]} == {"one.pt", "random:unet"}
    assert all(row["domain_distance"] == "not known" for row in content["sources"])
    assert all(row["probe"]["low"] <= row["probe"]["estimate"] <= row["probe"]["high"] for row in content["sources"])
    html = (tmp_path / "out" / "rank.html").read_text()
    assert "<html" in html
    assert str(tmp_path) not in html + json.dumps(content)
    assert list((tmp_path / "out" / "cache").iterdir())


def test_pictures_with_the_published_network(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "data", 12)
    words = ["rank", "--data", str(tmp_path / "data"), "--task", "classification", "--bootstrap", "40"]
    assert main([*words, "--sources", SQUEEZENET, "--output", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "rank.json").read_text())
    rows = {row["source"]: row for row in content["sources"]}
    assert rows.keys() == {SQUEEZENET, "random:squeezenet1_0"}
    assert rows[SQUEEZENET]["scores"]["leep"] < 0
    assert rows["random:squeezenet1_0"]["scores"]["leep"] is None
    assert rows[SQUEEZENET]["probe"]["estimate"] > 0.9
    assert rows[SQUEEZENET]["feature_size"] == 512
    assert "source  " in capsys.readouterr().out  # plain columns: this is no terminal


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sources", "highres3dnet_giff"], "did you mean"),
        (["--sources", "a,,b"], "a source has no name"),
        (["--datalist", "none.json"], "no datalist"),
        (["--labelled", "3"], "too few labelled patients"),
        (["--labelled", "99"], "not enough labelled"),
    ],
)
def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    write_segmentation(tmp_path / "data", 6)
    torch.save(build_network("unet").state_dict(), tmp_path / "one.pt")
    own = [] if "--sources" in words else ["--sources", str(tmp_path / "one.pt")]
    assert main(["rank", "--data", str(tmp_path / "data"), "--task", "segmentation", *own, *words]) == 2
    assert message in capsys.readouterr().err


def test_hippocampus(
    weights: Path, real_data: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real scans, real weights: a network that was trained on brains sees more than one with initial weights."""
    datalist = project / "benchmarks" / "hippocampus_datalist.json"
    words = ["rank", "--data", str(real_data / "hippocampus_mri"), "--task", "segmentation", "--labelled", "6"]
    own = ["--datalist", str(datalist), "--sources", GIF, "--bootstrap", "40", "--output", str(tmp_path)]
    assert main([*words, *own]) == 0
    rows = {row["source"]: row for row in json.loads((tmp_path / "rank.json").read_text())["sources"]}
    assert rows[GIF]["probe"]["estimate"] > rows["random:highres3dnet"]["probe"]["estimate"]
    assert rows[GIF]["scores"]["leep"] is not None
    assert rows[GIF]["licence"] == "MIT"
    assert "6 labelled cases of 6 patients" in capsys.readouterr().out
