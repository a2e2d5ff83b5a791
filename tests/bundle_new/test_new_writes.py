"""The folder that `medtl new` writes: complete, in order, and nothing at all where something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_data import ct_with_organs, new, pictures, save, volumes
from PIL import Image

from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.planning.data_fingerprint import take_fingerprint
from medtl_monai.bundle.planning.inventory import take_inventory
from medtl_monai.data.any_datalist import load_datalist

ORGANS = ("--source", "scratch", "--labels", "5=liver", "9=left kidney")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ct_with_organs(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "organs_ct_segmentation"
    assert new("organs_ct_segmentation", data, output, *ORGANS) == 0
    return output


def config(bundle: Path, name: str) -> dict[str, Any]:
    return json.loads((bundle / "configs" / f"{name}.json").read_text())


def test_layout_and_lint(bundle: Path) -> None:
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    configs = ("train", "evaluate", "inference", "multi_gpu_train", "metadata")
    docs = {"docs/README.md", "docs/plan.json", "docs/data_fingerprint.json"}
    assert files == {"LICENSE", "configs/logging.conf", *docs, *(f"configs/{name}.json" for name in configs)}
    assert lint_bundle(bundle, "strict") == []
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]  # no temporary folder is left


def test_metadata(bundle: Path) -> None:
    found = config(bundle, "metadata")
    texts = "schema version monai_version pytorch_version numpy_version task description authors copyright name"
    for key in (*texts.split(), *("data_type", "data_source", "intended_use", "modality", "organ")):
        assert isinstance(found[key], str), key
        assert found[key], key
    for package, version in {**found["required_packages_version"], "torch": found["pytorch_version"]}.items():
        assert packages.version(package).partition("+")[0] == version
    assert found["version"] in found["changelog"]
    assert (found["modality"], found["organ"]) == ("CT", "Organs")
    assert found["label_classes"] == "0 background, 5 liver, 9 left kidney"
    image, pred = (found["network_data_format"][side][key] for side, key in (("inputs", "image"), ("outputs", "pred")))
    assert pred["channel_def"] == {"0": "background", "1": "liver", "2": "left kidney"}
    assert (image["spatial_shape"], image["num_channels"], pred["num_channels"]) == (["8*n"] * 3, 1, 3)


def test_metadata_against_monais_own_check(bundle: Path) -> None:
    from monai.bundle import verify_net_in_out

    configs = bundle / "configs"
    for n in (1, 2):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "inference.json"),
            device="cpu",
            n=n,
        )


def test_the_card_tells_every_choice_and_the_commands(bundle: Path) -> None:
    card = (bundle / "docs" / "README.md").read_text()
    plan = json.loads((bundle / "docs" / "plan.json").read_text())["choices"]
    shown = [name for name, choice in plan.items() if choice["value"] not in (None, "") and name != "colour"]
    for name in shown:
        assert plan[name]["reason"].replace("|", "\\|") in card, name
    for config_file in ("configs/train.json", "evaluate.json", "configs/inference.json"):
        assert f"--config_file {config_file}" in card or config_file in card
    for word in ("medtl lint", "medtl doctor", "medtl rank", "not a medical device", "liver", "left kidney"):
        assert word.lower() in card.lower(), word


def test_the_split_is_in_the_data_folder_and_is_kept(data: Path, bundle: Path, tmp_path: Path) -> None:
    before = (data / "datalist.json").read_bytes()
    assert {name: len(rows) for name, rows in load_datalist(data / "datalist.json").splits.items()} == {
        "training": 2,
        "validation": 1,
        "test": 1,
    }
    assert config(bundle, "train")["datalist"] == ""
    second = tmp_path / "again_ct_segmentation"
    assert new("again_ct_segmentation", data, second, "--source", "scratch") == 0
    assert (data / "datalist.json").read_bytes() == before
    assert config(second, "metadata")["label_classes"] == "0 background, 5 liver, 9 left kidney"


def test_options_that_a_datalist_overrules(data: Path, bundle: Path, tmp_path: Path, capsys: Any) -> None:
    assert new("other_ct_segmentation", data, tmp_path / "other_ct_segmentation", *ORGANS) == 2
    assert "--labels would have no effect" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_datalist_of_another_name_is_copied(data: Path, bundle: Path, tmp_path: Path) -> None:
    folder = ct_with_organs(tmp_path / "data")
    (folder / "mine.json").write_bytes((data / "datalist.json").read_bytes())
    output = tmp_path / "mine_ct_segmentation"
    assert new("mine_ct_segmentation", folder / "mine.json", output, "--source", "scratch") == 0
    assert load_datalist(output / "datalist.json") == load_datalist(folder / "mine.json")
    assert config(output, "train")["datalist"] == "$@bundle_root + '/datalist.json'"
    assert not (folder / "datalist.json").exists()


def test_a_data_folder_that_cannot_be_written(tiny_disk: Path, tmp_path: Path) -> None:
    folder, output = pictures(tiny_disk / "data"), tmp_path / "light_classification"
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    assert new("light_classification", folder, output, "--source", "scratch") == 0
    assert load_datalist(output / "datalist.json").splits["test"]
    assert config(output, "train")["datalist"] == "$@bundle_root + '/datalist.json'"
    assert "--datalist datalist.json" in (output / "docs" / "README.md").read_text()
    assert lint_bundle(output, "strict") == []


def test_a_case_that_does_not_pass_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The planted defect: a picture of one grey, which cannot be scaled by percentiles."""
    data = pictures(tmp_path / "data")
    Image.fromarray(np.full((40, 48), 77, np.uint8)).save(data / "dark" / "dark_0.png")
    assert new("light_classification", data, tmp_path / "light_classification", "--source", "scratch") == 2
    assert "dark_0" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert not (data / "datalist.json").exists()


def test_a_bad_case_that_the_fingerprint_did_not_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The planted defect: one blank picture among 60, of which 50 are read for the plan; training would refuse it."""
    data = pictures(tmp_path / "data", cases=30)
    inventory = take_inventory(data, "classification")
    drawn = {case.case for case in take_fingerprint(inventory).read}
    spared = next(case for case in inventory.cases if case.case not in drawn)
    Image.fromarray(np.full((40, 48), 25, np.uint8)).save(data / spared.image)
    assert new("light_classification", data, tmp_path / "light_classification", "--source", "scratch") == 2
    assert f"case {spared.case}:" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert not (data / "datalist.json").exists()


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "mr"])
def test_classes_of_volumes(tmp_path: Path, masks: bool) -> None:
    """One case has gone through transforms and network before the folder got its name."""
    data, output = volumes(tmp_path / "data", masks=masks), tmp_path / "size_classification"
    options = () if masks else ("--modality", "mri")
    assert new("size_classification", data, output, "--source", "scratch", *options) == 0
    steps = config(output, "train")["train"]["preprocessing"]["transforms"]
    assert steps[2]["_target_"].rpartition(".")[2] == ("mask_volume" if masks else "mr_resized")
    assert lint_bundle(output, "strict") == []


def test_ct_slices_as_nifti(tmp_path: Path) -> None:
    for level, name in ((40, "normal"), (85, "bleeding")):
        for number in range(4):
            image = np.full((40, 36, 1), -1000.0)
            image[5:-5, 5:-5] = 40
            image[10:14, 10:20] = level
            image += np.random.default_rng(number).normal(0, 15, image.shape)
            save(tmp_path / "data" / name / f"{name}_{number}.nii.gz", image.astype(np.int16), (5, 5, 5))
    output = tmp_path / "thing_classification"
    assert new("thing_classification", tmp_path / "data", output, "--source", "scratch") == 0
    (window,) = config(output, "train")["windows"]
    assert window[0] < 25 < 55 < window[1] < 200  # no name asks for a window: the body's own range
    assert re.search(r"no clinical window", (output / "docs" / "README.md").read_text())
