"""Loading an exported bundle and running it: what is refused. Needs no SDK."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from deploy_scans import CLASSIFIERS, SEGMENTER

from medtl_monai.deploy import app
from medtl_monai.deploy.exported import load_exported
from medtl_monai.deploy.infer import classify, segment
from medtl_monai.errors import ConfigError, DataError, FormatError, GeometryError


def changed(folder: Path, copy: Path, name: str, edit: Any) -> tuple[Path, Path]:
    """Model file and bundle folder: a copy with one configuration edited; the configuration inside the model stays."""
    shutil.copytree(folder / "configs", copy / "configs")
    content = json.loads((copy / "configs" / name).read_text())
    edit(content)
    (copy / "configs" / name).write_text(json.dumps(content))
    return folder / "models" / "model.ts", copy


def test_what_the_metadata_say(exported: dict[str, Path]) -> None:
    model = load_exported(exported[SEGMENTER] / "models" / "model.ts")
    assert (model.task, model.modality) == ("segmentation", "MR")
    assert model.classes == {0: "background", 1: "anterior hippocampus", 2: "posterior hippocampus"}
    assert not model.network.training
    other = load_exported(exported[CLASSIFIERS[0]] / "models" / "model.ts")
    assert (other.task, other.classes) == ("classification", {0: "normal", 1: "hyperplasia"})


def test_no_torchscript_is_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such model file"):
        load_exported(tmp_path / "model.ts")
    with pytest.raises(FormatError, match="cannot be loaded"):
        load_exported(exported[SEGMENTER] / "models" / "model.pt")
    (tmp_path / "text.ts").write_text("no archive")
    with pytest.raises(FormatError, match="cannot be loaded"):
        load_exported(tmp_path / "text.ts")


def test_torchscript_without_configuration_needs_the_bundle(exported: dict[str, Path], tmp_path: Path) -> None:
    bundle = exported[SEGMENTER]
    bare = tmp_path / "bare.ts"
    torch.jit.save(torch.jit.load(str(bundle / "models" / "model.ts")), str(bare))
    with pytest.raises(FormatError, match=r"without metadata\.json, inference\.json"):
        load_exported(bare)
    model = load_exported(bare, bundle)
    assert model.parser["bundle_root"] == str(bundle)
    with pytest.raises(FormatError, match="not a bundle folder"):
        load_exported(bare, tmp_path)


def test_configurations_that_cannot_be_run_are_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    folder = exported[SEGMENTER]
    with pytest.raises(ConfigError, match=r"lacks ids.*inferer"):
        load_exported(*changed(folder, tmp_path / "a", "inference.json", lambda config: config.pop("inferer")))

    def unnamed(metadata: dict[str, Any]) -> None:
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"].pop("0")

    def doubled(metadata: dict[str, Any]) -> None:
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["1"] = "background"

    def other(metadata: dict[str, Any]) -> None:
        metadata["network_data_format"]["outputs"]["pred"]["format"] = "embedding"

    with pytest.raises(ConfigError, match="name no classes"):
        load_exported(*changed(folder, tmp_path / "b", "metadata.json", unnamed))
    with pytest.raises(ConfigError, match="two classes"):
        load_exported(*changed(folder, tmp_path / "c", "metadata.json", doubled))
    with pytest.raises(ConfigError, match="tell no task"):
        load_exported(*changed(folder, tmp_path / "d", "metadata.json", other))


def test_another_task_is_refused(exported: dict[str, Path], series: Path, gland: Path) -> None:
    with pytest.raises(ConfigError, match="of another task"):
        classify(load_exported(exported[SEGMENTER] / "models" / "model.ts"), series)
    with pytest.raises(ConfigError, match="of another task"):
        segment(load_exported(exported[CLASSIFIERS[0]] / "models" / "model.ts"), gland)


def test_a_series_of_another_modality_is_refused(exported: dict[str, Path], series: Path, tmp_path: Path) -> None:
    for file in sorted(series.iterdir()):
        dataset = pydicom.dcmread(file)
        dataset.Modality = "PT"
        dataset.save_as(tmp_path / file.name)
    with pytest.raises(DataError, match=r"another modality; expected MR.*got PT"):
        segment(load_exported(exported[SEGMENTER] / "models" / "model.ts"), tmp_path)


def test_a_bundle_with_another_reader_is_refused(exported: dict[str, Path], series: Path, tmp_path: Path) -> None:
    def loose(config: dict[str, Any]) -> None:
        config["preprocessing"]["transforms"][0] = {"_target_": "LoadImaged", "keys": "image"}

    given = changed(exported[SEGMENTER], tmp_path / "a", "inference.json", loose)
    with pytest.raises(ConfigError, match="does not read strictly"):
        segment(load_exported(*given), series)


def test_a_mask_off_its_grid_is_refused(exported: dict[str, Path], lia: Path, tmp_path: Path) -> None:
    def not_inverted(config: dict[str, Any]) -> None:
        steps = config["postprocessing"]["transforms"]
        config["postprocessing"]["transforms"] = [step for step in steps if step["_target_"] != "Invertd"]

    given = changed(exported[SEGMENTER], tmp_path / "a", "inference.json", not_inverted)
    with pytest.raises(DataError, match="not on the grid"):
        segment(load_exported(*given), lia)


def test_logits_are_no_probabilities(exported: dict[str, Path], gland: Path, tmp_path: Path) -> None:
    def raw(config: dict[str, Any]) -> None:
        config["postprocessing"]["transforms"].pop(0)

    given = changed(exported[CLASSIFIERS[0]], tmp_path / "a", "inference.json", raw)
    with pytest.raises(DataError, match="no probabilities"):
        classify(load_exported(*given), gland)


def test_one_slice_less_is_refused(exported: dict[str, Path], series: Path, tmp_path: Path) -> None:
    gap = Path(shutil.copytree(series, tmp_path / "gap"))
    sorted(gap.iterdir())[20].unlink()
    with pytest.raises(GeometryError, match="missing"):
        segment(load_exported(exported[SEGMENTER] / "models" / "model.ts"), gap)


def test_the_command_names_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(app, "NEEDED", ("numpy", "absent_one", "absent_two"))
    words = ["--task", "segmentation", "--model", "m.ts", "--input", "i", "--output", str(tmp_path / "out")]
    assert app.main(words) == 2
    said = capsys.readouterr().err
    assert "no absent_one, absent_two" in said
    assert "pip install monai-deploy-app-sdk" in said
    assert not (tmp_path / "out").exists()


def test_the_mask_has_the_geometry_of_the_scan(exported: dict[str, Path], series: Path) -> None:
    mask = segment(load_exported(exported[SEGMENTER] / "models" / "model.ts"), series)
    assert len(mask.slices) == mask.labels.shape[2]
    first = pydicom.dcmread(series / "IM0001.dcm")
    assert np.allclose(np.linalg.norm(mask.affine[:3, :3], axis=0), [*map(float, first.PixelSpacing[::-1]), 1.1])
    assert "PHANTOM" not in mask.case
