"""The bundles' configurations are the recipes', and few lines long."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medtl_monai.bundle.compose.json_text import json_text
from medtl_monai.bundle.compose.recipe import Recipe
from medtl_monai.bundle.compose.suite import HIPPOCAMPUS, SUITE
from medtl_monai.bundle.compose.write import configurations, write_configurations
from medtl_monai.errors import ConfigError

LONGEST = {"train.json": 120, "inference.json": 60}


def test_every_bundle_has_a_recipe(project: Path) -> None:
    assert {path.name for path in (project / "bundles").iterdir() if path.is_dir()} == set(SUITE)


@pytest.mark.parametrize("name", SUITE)
def test_files_are_the_recipes(project: Path, name: str) -> None:
    for file, content in configurations(SUITE[name]).items():
        text = (project / "bundles" / name / "configs" / file).read_text()
        assert text == json_text(content), f"{file}: write it anew with write_configurations, or change the recipe"
        assert len(text.splitlines()) <= LONGEST.get(file, 60)


@pytest.mark.parametrize("name", SUITE)
def test_metadata_names_the_recipes_classes(project: Path, name: str) -> None:
    metadata = json.loads((project / "bundles" / name / "configs" / "metadata.json").read_text())
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == SUITE[name].texts
    assert pred["num_channels"] == SUITE[name].classes


def test_label_values_with_gaps_become_channels_and_come_back(tmp_path: Path) -> None:
    recipe = replace(HIPPOCAMPUS, names={0: "background", 5: "a", 9: "b"})
    write_configurations(recipe, tmp_path)
    train = json.loads((tmp_path / "configs" / "train.json").read_text())
    forth = {"_target_": "MapLabelValued", "keys": "label", "orig_labels": [0, 5, 9], "target_labels": [0, 1, 2]}
    assert forth in train["train"]["preprocessing"]["transforms"]
    save = configurations(recipe)["inference.json"]["postprocessing"]["transforms"][-1]
    assert (save["_target_"].rsplit(".", 1)[1], save["values"]) == ("SaveImageValuesd", "@label_values")
    assert train["label_values"] == [0, 5, 9]


def test_incomplete_recipes_are_refused() -> None:
    with pytest.raises(ConfigError, match="incomplete"):
        replace(HIPPOCAMPUS, window=None)
    assert isinstance(HIPPOCAMPUS, Recipe)
