"""Which sources are compared, which are not and why, and who may use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from medtl_monai.errors import ConfigError, WeightsError
from medtl_monai.networks.factory import build_network
from medtl_monai.ranking.sources import choose, licensing, shown_name
from medtl_monai.weights.licence import Lineage, write_lineage
from medtl_monai.weights.registry import REGISTRY, pretrained

GIF, SQUEEZENET = "highres3dnet_gif", "imagenet_squeezenet1_0_pruned"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with files of two rows (their content is not looked at here)."""
    monkeypatch.setenv("MEDTL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    for name in (GIF, SQUEEZENET):
        (tmp_path / pretrained(name).file_name).touch()
    return tmp_path


def own_file(folder: Path, *lineages: Lineage) -> str:
    torch.save(build_network("unet").state_dict(), folder / "own.pt")
    write_lineage(folder / "own.pt", lineages)
    return str(folder / "own.pt")


def test_by_default_all_local_rows_that_fit(files: Path) -> None:
    usable, unusable = choose([], 3)
    assert set(usable) == {GIF, SQUEEZENET}
    assert len(usable) + len(unusable) == len(REGISTRY)
    reasons = {entry.source: entry.reason for entry in unusable}
    assert reasons["imagenet_resnet18"] == "not on this machine: `medtl weights fetch imagenet_resnet18`"
    usable, unusable = choose([], 2)
    assert usable == (SQUEEZENET,)
    assert "3D network, and the images are 2D" in {entry.source: entry.reason for entry in unusable}[GIF]


def test_named_ones_in_their_order_random_aside(files: Path) -> None:
    assert choose(["random", f"{SQUEEZENET}@acs", GIF], 3)[0] == (f"{SQUEEZENET}@acs", GIF)


def test_slips_are_errors(files: Path) -> None:
    with pytest.raises(WeightsError, match="did you mean"):
        choose(["highres3dnet_giff"], 3)
    with pytest.raises(ConfigError, match="named twice"):
        choose([GIF, GIF], 3)
    with pytest.raises(ConfigError, match=r"no source can be used.*no such file"):
        choose([str(files / "gone.pt")], 3)


def test_commercial_use_leaves_out_what_is_not_granted(files: Path) -> None:
    forbidden = own_file(files, Lineage("a", "CC-BY-NC-4.0", False))
    usable, unusable = choose([GIF, forbidden], 3, commercial=True)
    assert usable == (GIF,)
    assert "CC-BY-NC-4.0" in unusable[0].reason
    assert choose([GIF, forbidden], 3)[0] == (GIF, forbidden)


@pytest.mark.parametrize(
    ("lineages", "licence", "word"),
    [
        ([Lineage("a", "MIT", True), Lineage("b", "BSD-3-Clause", True)], "MIT + BSD-3-Clause", "yes"),
        ([Lineage("a", "MIT", True), Lineage("b", "CC-BY-NC-4.0", False)], "MIT + CC-BY-NC-4.0", "no"),
        ([Lineage("a", "MIT", True), Lineage("b", None, None)], "MIT + unknown", "unknown"),
        ([], "its own; trained from initial weights", "yes"),
    ],
)
def test_licence_of_all_ancestors(tmp_path: Path, lineages: list[Lineage], licence: str, word: str) -> None:
    found = licensing(own_file(tmp_path, *lineages))
    assert (found.licence, found.word) == (licence, word)


def test_a_file_without_record_is_unknown_and_a_damaged_record_too(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "a.pt")
    assert licensing(str(tmp_path / "a.pt")).word == "unknown"
    (tmp_path / "a.pt.lineage.json").write_text(json.dumps([1]))
    assert licensing(str(tmp_path / "a.pt")).word == "unknown"


def test_names_tell_no_folders_of_the_machine(tmp_path: Path) -> None:
    assert shown_name(str(tmp_path / "runs" / "model.pt")) == "model.pt"
    assert shown_name(f"{tmp_path}/own/hippocampus@acs") == "hippocampus@acs"
    assert shown_name(GIF) == GIF
