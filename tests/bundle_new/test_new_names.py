"""Names that tools would misunderstand, and texts that MONAI would evaluate, are refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from new_data import ct_with_organs, new, pictures

from medtl_monai.bundle.new.names import require_bundle_name, require_label_names, subject_words, title
from medtl_monai.errors import ConfigError, LabelError


@pytest.mark.parametrize(
    ("name", "task", "problem"),
    [
        ("liver", "segmentation", "does not say the task"),
        ("liver_segmentation", "classification", "call it liver_classification"),
        ("nodule_detection_segmentation", "segmentation", "detection"),
        ("ct_vertebra_segmentation", "segmentation", "_v"),
        ("liver segmentation", "segmentation", "cannot be the name"),
        ("../liver_segmentation", "segmentation", "cannot be the name"),
        ("3d_segmentation", "segmentation", "cannot be the name"),
    ],
)
def test_names_that_tools_misunderstand(name: str, task: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        require_bundle_name(name, task)


def test_names_in_words() -> None:
    require_bundle_name("liver_ct_segmentation", "segmentation")
    assert (subject_words("liver_ct_segmentation"), title("liver_ct_segmentation")) == (
        "Liver",
        "Liver CT segmentation",
    )


def test_names_that_monai_would_evaluate_are_told_all_at_once() -> None:
    names = {0: "background", 1: "$print(1)", 2: "@network_def", 3: "%a.json", 4: "liver\n", 5: " ", 6: "Background"}
    with pytest.raises(LabelError) as caught:
        require_label_names(names)
    for value in (1, 2, 3, 4, 5, 6):
        assert f"{value}=" in str(caught.value)
    assert "0=" not in str(caught.value)


def test_a_folder_whose_name_is_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data", ("light", "$__import__('os').getcwd()"))
    assert new("light_classification", data, tmp_path / "light_classification") == 2
    assert "cannot be used" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert not (data / "datalist.json").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "organs_segmentation"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    assert new("organs_segmentation", ct_with_organs(tmp_path / "data"), output) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["mine.txt"]
    assert not (tmp_path / "data" / "datalist.json").exists()
