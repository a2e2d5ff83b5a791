"""The ``medtl`` command, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medtl_monai.cli import main
from medtl_monai.data.phantom import write_cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_cohort(tmp_path / "cohort", range(10), contrast="target")
    return tmp_path / "cohort"


def test_datalist_splits_every_case_once(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datalist", str(cohort), "--labels", "1=anterior", "2=posterior"]) == 0
    content = json.loads((cohort / "datalist.json").read_text())
    cases = [row["case"] for split in ("training", "validation", "test") for row in content[split]]
    assert sorted(cases) == sorted(path.name.removesuffix(".nii.gz") for path in (cohort / "images").iterdir())
    assert content["labels"] == {"0": "background", "1": "anterior", "2": "posterior"}
    assert "7 training, 1 validation, 2 test" in capsys.readouterr().out


def test_check_is_quiet_on_good_data_and_names_every_bad_case(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["datalist", str(cohort), "--labels", "1=anterior", "2=posterior"])
    assert main(["check", str(cohort)]) == 0
    bad = sorted((cohort / "labels").iterdir())[:2]
    for path in bad:
        label = nib.load(path)
        voxels = np.asarray(label.dataobj).copy()
        voxels[0, 0, 0] = 7
        nib.save(nib.Nifti1Image(voxels, label.affine), path)
    capsys.readouterr()
    assert main(["check", str(cohort)]) == 1
    said = capsys.readouterr().out
    assert all(path.name.removesuffix(".nii.gz") in said for path in bad)
    assert "10 cases, 2 errors" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["datalist", "ABSENT"], "ABSENT"),
        (["check", "ABSENT"], "ABSENT"),
        (["weights", "show", "highres3dnet"], "did you mean 'highres3dnet_gif'"),
        (["weights", "import", "ABSENT"], "ABSENT"),
        (["datalist", ".", "--labels", "anterior"], "VALUE=NAME"),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("medtl: ")
    assert said in error
    assert "Traceback" not in error


def test_weights_import_puts_the_published_file_where_training_finds_it(
    real_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path / "cache"))
    assert main(["weights", "verify", "highres3dnet_gif"]) == 2
    file = next((real_weights / "highres3dnet").glob("*.pth"))
    assert main(["weights", "import", str(file)]) == 0
    assert main(["weights", "verify", "highres3dnet_gif"]) == 0
    assert main(["weights", "list"]) == 0
    assert re.search(r"^highres3dnet_gif .* MIT +yes +local$", capsys.readouterr().out, re.MULTILINE)


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert (tmp_path / "thesis.docx").read_text() == "years of work"
    assert "output folder is not one of an earlier demo" in capsys.readouterr().err


def test_classes_in_folders_get_a_datalist_and_a_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / ("bleeding", "normal")[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (40, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"scan_{number:02d}.png")
    assert main(["datalist", str(tmp_path), "--classification"]) == 0
    assert "training" in capsys.readouterr().out
    content = json.loads((tmp_path / "datalist.json").read_text())
    assert (content["task"], content["classes"]) == ("classification", {"0": "bleeding", "1": "normal"})
    assert main(["check", str(tmp_path)]) == 0
    assert "24 cases, 0 errors" in capsys.readouterr().out
    Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(tmp_path / "normal" / "scan_01.png")
    assert main(["check", str(tmp_path)]) == 1
    assert "scan_01" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--colour", "luminance"]) == 0
